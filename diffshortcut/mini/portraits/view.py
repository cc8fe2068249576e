"""One photograph's parameters: expression, pose, camera, light, clothes, background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffshortcut.mini.portraits.person import Color

CLOTH_COLORS: dict[str, Color] = {
    "white": (0.88, 0.88, 0.86), "black": (0.06, 0.06, 0.07), "grey": (0.45, 0.46, 0.48),
    "red": (0.65, 0.10, 0.11), "blue": (0.12, 0.25, 0.58), "navy": (0.07, 0.10, 0.22),
    "green": (0.13, 0.40, 0.22), "yellow": (0.86, 0.72, 0.20), "pink": (0.85, 0.55, 0.62),
    "purple": (0.38, 0.18, 0.48), "orange": (0.85, 0.42, 0.12), "brown": (0.36, 0.23, 0.15),
}  # fmt: skip
BACKGROUNDS: dict[str, Color] = {
    "white": (0.93, 0.93, 0.92), "grey": (0.55, 0.56, 0.58), "black": (0.07, 0.07, 0.08),
    "blue": (0.30, 0.48, 0.75), "green": (0.34, 0.55, 0.36), "red": (0.62, 0.22, 0.20),
    "yellow": (0.87, 0.78, 0.45), "pink": (0.86, 0.66, 0.70), "brown": (0.42, 0.31, 0.23),
    "purple": (0.46, 0.36, 0.60), "orange": (0.85, 0.55, 0.30), "teal": (0.20, 0.47, 0.50),
}  # fmt: skip
EXPRESSIONS = ("neutral", "smile", "open mouth", "frown", "surprised", "eyes closed")
CLOTHES = ("t-shirt", "v-neck", "turtleneck", "suit", "striped shirt", "sweater")
TEXTURES = ("plain", "gradient", "bokeh", "stripes", "wall", "blobs")


@dataclass(frozen=True)
class View:
    """What changes from one photograph of a person to the next (angles in degrees)."""

    seed: int
    expression: str
    actions: tuple[tuple[str, float], ...]
    yaw: float
    pitch: float
    roll: float
    gaze: tuple[float, float]
    distance: float
    fraction: float
    shift: tuple[float, float]
    key: tuple[float, float, float]
    key_color: Color
    fill: float
    ambient: float
    warm: Color
    exposure: float
    clothes: str
    cloth_color: str
    background: str
    back_color: str
    back_second: Color
    grain: float

    @staticmethod
    def draw(seed: int, grain: float = 0.0) -> View:
        """The view of a seed; the same on every machine."""
        rng = np.random.default_rng([int(seed), 3])
        expression = str(rng.choice(EXPRESSIONS, p=[0.34, 0.32, 0.09, 0.09, 0.09, 0.07]))
        turn, height = np.radians(rng.uniform(-65, 65)), np.radians(rng.uniform(8, 55))
        key = (np.sin(turn) * np.cos(height), np.cos(turn) * np.cos(height), np.sin(height))
        tint = rng.uniform(-0.12, 0.12)
        back = str(rng.choice(list(BACKGROUNDS)))
        other = np.asarray(BACKGROUNDS[back]) * rng.uniform(0.4, 0.9)
        if rng.random() < 0.3:
            other = np.asarray(BACKGROUNDS[str(rng.choice(list(BACKGROUNDS)))])
        return View(
            seed=int(seed), expression=expression, actions=_actions(rng, expression),
            yaw=float(np.clip(rng.normal(0, 17), -35, 35)),
            pitch=float(np.clip(rng.normal(0, 6.5), -15, 15)),
            roll=float(np.clip(rng.normal(0, 3.5), -8, 8)),
            gaze=(float(rng.normal(0, 0.12)), float(rng.normal(0, 0.06))),
            distance=float(rng.uniform(0.7, 1.8)),
            fraction=float(np.clip(rng.normal(0.53, 0.055), 0.38, 0.68)),
            shift=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.025))),
            key=(float(key[0]), float(key[1]), float(key[2])),
            key_color=(1.0 + tint, 1.0, 1.0 - tint), fill=float(rng.uniform(0.05, 0.4)),
            ambient=float(rng.uniform(0.16, 0.5)), exposure=float(rng.uniform(0.82, 1.06)),
            warm=(1.0 - tint * 0.5, 1.0, 1.0 + tint * 0.5),
            clothes=str(rng.choice(CLOTHES)), cloth_color=str(rng.choice(list(CLOTH_COLORS))),
            background=str(rng.choice(TEXTURES)), back_color=back,
            back_second=(float(other[0]), float(other[1]), float(other[2])), grain=grain,
        )  # fmt: skip


def _both(names: str, value: float) -> list[tuple[str, float]]:
    return [(f"{name}{side}", value) for name in names.split() for side in ("Left", "Right")]


def _actions(rng: np.random.Generator, expression: str) -> tuple[tuple[str, float], ...]:
    """Facial action weights of a named expression, plus a little life."""
    strong, some = float(rng.uniform(0.6, 1.0)), float(rng.uniform(0, 1))
    actions = _both("eyeBlink", float(rng.uniform(0, 0.12)))
    if expression == "smile":
        actions += _both("mouthSmile", 1.15 * strong) + _both("cheekSquint", 0.5 * some)
        actions += _both("mouthUpperUp", 0.6 * some) + [("jawOpen", 0.16 * some)]
        actions += _both("mouthDimple", 0.3 * some)
    elif expression == "open mouth":
        actions += [("jawOpen", 0.75 * strong)] + _both("mouthLowerDown", 0.3 * some)
    elif expression == "frown":
        actions += _both("mouthFrown", strong) + _both("browDown", strong)
        actions += [("mouthShrugLower", 0.4 * some)]
    elif expression == "surprised":
        actions += [("browInnerUp", strong), ("jawOpen", 0.35 * strong)]
        actions += _both("browOuterUp", strong) + _both("eyeWide", strong)
    elif expression == "eyes closed":
        actions = _both("eyeBlink", 1.0) + _both("mouthSmile", 0.3 * some)
    else:
        actions += _both("mouthSmile", 0.1 + 0.25 * some) + _both("browOuterUp", 0.2 * some)
    return tuple(actions)
