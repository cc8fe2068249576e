"""Identity parameters of an invented person, drawn from an integer seed (colors sRGB 0..1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Color = tuple[float, float, float]
ANCESTRIES = ("african", "asian", "caucasian")
HAIR_COLORS: dict[str, Color] = {
    "black": (0.07, 0.06, 0.06), "brown": (0.25, 0.15, 0.09), "blond": (0.66, 0.51, 0.34),
    "red": (0.43, 0.19, 0.10), "grey": (0.50, 0.49, 0.48), "white": (0.86, 0.85, 0.83),
}  # fmt: skip
EYE_COLORS: dict[str, Color] = {
    "brown": (0.25, 0.14, 0.07), "dark": (0.11, 0.07, 0.05), "blue": (0.30, 0.47, 0.66),
    "green": (0.34, 0.45, 0.26), "grey": (0.45, 0.49, 0.52), "hazel": (0.42, 0.30, 0.13),
}  # fmt: skip
SKIN_RANGES = {
    "caucasian": ((0.90, 0.73, 0.64), (0.74, 0.54, 0.42)),
    "asian": ((0.88, 0.72, 0.59), (0.67, 0.49, 0.36)),
    "african": ((0.57, 0.38, 0.27), (0.32, 0.205, 0.15)),
}
WRINKLES = {"young": -0.1, "middle-aged": 0.25, "old": 0.8}
# Targets that turn or move the head as a whole, which a view should do, not a person.
STILL = ("head-angle", "head-trans", "neck-trans", "head-age", "eye-push", "mouth-trans-out",
         "nose-trans-out")  # fmt: skip


@dataclass(frozen=True)
class Person:
    """What stays the same in every view of one person."""

    seed: int
    ancestry: str
    gender: str
    age: str
    phenotype: tuple[float, ...]
    local_seed: int
    local_spread: float
    wrinkles: float
    skin: Color
    lips: Color
    hair_color: str
    hair: Color
    hair_style: str
    hair_volume: float
    hair_curl: float
    hair_length: float
    hairline: float
    bangs: bool
    tucked: bool
    beard: str
    brow: Color
    brow_thickness: float
    brow_arch: float
    eye_color: str
    eye: Color
    glasses: str
    frame: Color
    lens_shape: float
    freckles: float
    moles: tuple[tuple[float, float], ...]

    @staticmethod
    def draw(seed: int) -> Person:
        """The person of a seed; the same on every machine."""
        return _draw(int(seed))

    def local(self, labels: tuple[str, ...]) -> np.ndarray:
        """Bipolar values of the local morph targets, in the order of ``labels``."""
        rng = np.random.default_rng([self.local_seed, 2])
        values = np.clip(rng.normal(0, self.local_spread, len(labels)), -0.95, 0.95)
        for i, label in enumerate(labels):
            values[i] *= 0.0 if label.startswith(STILL) else _strength(label)
        values[labels.index("head-age-incr")] = self.wrinkles
        return values.astype(np.float32)


def _strength(label: str) -> float:
    """Relative size of a local target's random value."""
    if label.startswith("eye-"):
        return 0.75
    if label.startswith(("neck", "measure", "head-back")):
        return 0.5
    return 1.1 if label.startswith(("nose", "chin", "head-scale", "cheek")) else 0.9


def _mix(low: Color, high: Color, share: float) -> np.ndarray:
    return np.asarray(low) * (1 - share) + np.asarray(high) * share


def _color(values: np.ndarray) -> Color:
    red, green, blue = np.clip(values, 0.01, 0.98)
    return float(red), float(green), float(blue)


def _phenotype(rng: np.random.Generator, ancestry: str, gender: str, age: str) -> list[float]:
    """The 13 phenotype factors in the order of ``extract.PHENOTYPES``."""
    race = (rng.dirichlet([0.6, 0.6, 0.6]) * 0.3).tolist()
    race[ANCESTRIES.index(ancestry)] += 0.7
    male = rng.uniform(0.85, 1.0) if gender == "man" else rng.uniform(0.0, 0.12)
    old = {"young": rng.uniform(0, 0.2), "middle-aged": rng.uniform(0.35, 0.6)}
    old["old"] = rng.uniform(0.8, 1.0)
    muscle, weight = rng.uniform(0.25, 0.85), rng.uniform(0.15, 0.9)

    def three(value: float) -> list[float]:
        return [max(1 - 2 * value, 0), 1 - abs(2 * value - 1), max(2 * value - 1, 0)]

    years = old[age]
    return [*race, male, 1 - male, 1 - years, years, *three(muscle), *three(weight)]


def _hair_color(rng: np.random.Generator, ancestry: str, age: str) -> str:
    if age == "old" and rng.random() < 0.8:
        return str(rng.choice(["grey", "white"]))
    if age == "middle-aged" and rng.random() < 0.2:
        return "grey"
    odds = {"african": [0.78, 0.2, 0.01, 0.01], "asian": [0.72, 0.24, 0.02, 0.02]}
    odds["caucasian"] = [0.18, 0.36, 0.28, 0.18]
    return str(rng.choice(["black", "brown", "blond", "red"], p=odds[ancestry]))


def _hair_style(rng: np.random.Generator, ancestry: str, gender: str, age: str) -> str:
    if gender == "man":
        old = age == "old"
        names = ["short", "bald", "balding", "long", "bob", "afro"]
        odds = [0.60, 0.12, 0.20 if old else 0.04, 0.05, 0.06, 0.05]
    else:
        names = ["long", "bob", "bun", "short", "afro"]
        odds = [0.42, 0.20, 0.18, 0.14, 0.06]
    if ancestry == "african":
        odds[names.index("afro")] += 0.25
    return str(rng.choice(names, p=np.array(odds) / sum(odds)))


def _eye_color(rng: np.random.Generator, ancestry: str) -> str:
    if ancestry != "caucasian":
        return str(rng.choice(["brown", "dark", "hazel"], p=[0.45, 0.45, 0.1]))
    names = ["blue", "green", "grey", "brown", "hazel"]
    return str(rng.choice(names, p=[0.3, 0.15, 0.15, 0.25, 0.15]))


@lru_cache(maxsize=4096)
def _draw(seed: int) -> Person:
    rng = np.random.default_rng([seed, 1])
    ancestry = str(rng.choice(ANCESTRIES, p=[0.28, 0.28, 0.44]))
    gender = str(rng.choice(["man", "woman"]))
    age = str(rng.choice(["young", "middle-aged", "old"], p=[0.5, 0.28, 0.22]))
    phenotype = _phenotype(rng, ancestry, gender, age)
    skin = _mix(*SKIN_RANGES[ancestry], rng.beta(1.2, 1.4)) * rng.uniform(0.95, 1.04, 3)
    lips = skin * np.array([0.90, 0.66, 0.66]) * rng.uniform(0.9, 1.05)
    if gender == "woman" and rng.random() < 0.35:
        lips = np.array([0.68, 0.15, 0.2]) * rng.uniform(0.7, 1.1) * rng.uniform(0.85, 1.15, 3)
    color = _hair_color(rng, ancestry, age)
    tint = 1 + rng.uniform(-0.03, 0.03, 3) * (color not in ("grey", "white"))
    hair = np.asarray(HAIR_COLORS[color]) * rng.uniform(0.75, 1.25) * tint
    style = _hair_style(rng, ancestry, gender, age)
    curl = rng.uniform(0.6, 1) if style == "afro" else rng.choice([0.0, 0.15, 0.4, 0.8])
    beard = "none"
    if gender == "man":
        beard = str(rng.choice(["none", "stubble", "full", "moustache", "goatee"],
                               p=[0.4, 0.2, 0.22, 0.1, 0.08]))  # fmt: skip
    eye = _eye_color(rng, ancestry)
    glasses = "none"
    if rng.random() < 0.22:
        glasses = str(rng.choice(["thin", "dark"]))
    frame = np.array([0.05, 0.05, 0.06]) if glasses == "dark" else np.array([0.55, 0.5, 0.42])
    wrinkles = float(WRINKLES[age] * rng.uniform(0.6, 1.2))
    return Person(
        seed=seed, ancestry=ancestry, gender=gender, age=age, phenotype=tuple(phenotype),
        local_seed=seed, local_spread=0.33 if gender == "man" else 0.27,
        skin=_color(skin), lips=_color(lips), wrinkles=wrinkles,
        hair_color=color, hair=_color(hair), hair_style=style, hair_curl=float(curl),
        hair_volume=float(rng.uniform(0, 1)), hair_length=float(rng.uniform(0, 1)),
        hairline=float(rng.normal(0, 0.007)), tucked=bool(rng.random() < 0.2),
        bangs=bool(style in ("long", "bob", "short") and rng.random() < 0.3), beard=beard,
        brow=_color(hair * rng.uniform(0.35, 0.8) * 0.9 + 0.02), eye_color=eye,
        brow_thickness=float(rng.uniform(0.6, 1.5) * (1.25 if gender == "man" else 0.85)),
        brow_arch=float(rng.uniform(-0.5, 1.2)), glasses=glasses, frame=_color(frame),
        eye=_color(np.asarray(EYE_COLORS[eye]) * rng.uniform(0.8, 1.2, 3)),
        lens_shape=float(rng.uniform(0, 1)),
        freckles=float(rng.random() ** 2 if ancestry == "caucasian" and rng.random() < 0.25 else 0),
        moles=tuple((float(rng.uniform(-0.055, 0.055)), float(rng.uniform(0.64, 0.79)))
                    for _ in range(int(rng.integers(0, 4)))),
    )  # fmt: skip
