"""Does the adaptive attack hurt the purified picture more than ASPL of the same radius does?

    python -m experiments.adaptive.measure people            # 8 people, all attacks and purifiers
    python -m experiments.adaptive.measure strength FOLDER   # curves, on development people
    python -m experiments.adaptive.measure table             # markdown of what was measured

No victim is trained: the purified picture itself is measured against the clean one (perceptual
distance, kept identity, PSNR), under draws of the purifier that the attack has not seen. Every
measurement is a line of measured.jsonl beside this file; what stands there is not repeated.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from diffshortcut.bench.scenes import purified, scene
from diffshortcut.config import arms
from diffshortcut.config.config import build
from diffshortcut.config.schema import own
from diffshortcut.data import folder, portraits
from diffshortcut.data.person import Person
from diffshortcut.metrics.faithfulness import psnr
from diffshortcut.metrics.identity import find, similarity
from diffshortcut.pictures import images
from diffshortcut.report.sheet import interval
from diffshortcut.seeding import Draws
from diffshortcut.statistics import mean_difference
from experiments.kept import lines, markdown

RECORD = Path(__file__).parent / "measured.jsonl"
PURIFIERS = ("codeformer_sr", "sr", "codeformer")
ATTACKS = {
    "none": ["attack=none"],
    "random": ["attack=random", "attack.radius=16"],
    "aspl": ["attack=aspl", "attack.radius=16"],
    "A": ["attack=adaptive/bpda"],
    "B": ["attack=adaptive"],
    "C": ["attack=adaptive/unrolled"],
}
CURVES = {
    **{f"{steps} steps": [f"scale.adaptive_steps={steps}"] for steps in (25, 50, 100, 200, 400)},
    **{f"100 steps, {n} draws": [f"scale.adaptive_samples={n}"] for n in (2, 4)},
    "100 steps, EoT": ["eot=strong"],
}
Key = tuple[str, str, str, str]  # person, purifier, attack, variant


def main(what: str, *rest: str) -> None:
    """One of the three commands of the docstring."""
    torch.set_num_threads(1)
    if what == "people":
        measure(portraits.people(people=8), list(_cells(rest or PURIFIERS)))
    elif what == "strength":
        chosen = folder.people(root=rest[0], people=["person_100", "person_101"])
        levels = {name: ATTACKS[name] for name in rest[1:] or "ABC"}
        cells = [
            ("codeformer_sr", name, curve, [*overrides, *more])
            for name, overrides in levels.items()
            for curve, more in CURVES.items()
        ]
        measure(chosen, cells)
    else:
        print(table())


def _cells(purifiers: tuple[str, ...]) -> Iterator[tuple[str, str, str, list[str]]]:
    for purifier in purifiers:
        for attack, overrides in ATTACKS.items():
            yield purifier, attack, "", overrides


def measure(people: list[Person], cells: list[tuple[str, str, str, list[str]]]) -> None:
    """Add a line to the record for everything that is not there yet."""
    done = {_key(row) for row in lines(RECORD)}
    for person in people:
        for purifier, attack, variant, overrides in cells:
            if (person.name, purifier, attack, variant) in done:
                continue
            command = [*overrides, f"purifier={purifier}", "compare.arms=[]"]
            row = {"person": person.name, "purifier": purifier, "attack": attack}
            row |= {"variant": variant, **of(person, arms.compose(command)[-1].config)}
            with RECORD.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            print(row, flush=True)


def of(person: Person, cfg: dict[str, Any]) -> dict[str, float]:
    """Damage of a person's purified pictures, the mean over them."""
    seen = scene(person)
    protected = images.quantize(
        build(own(cfg["attack"]), "attack")(seen, Draws(0, "protect", person.name))
    )
    defended = purified(cfg["purifier"], protected, Draws(0, "purify", person.name))
    zoo = cfg["zoo"]
    detector, recognizer = build(zoo["detector"]), build(zoo["recognizer_a"])
    clean = find(detector, seen.images)
    kept = similarity(recognizer, find(detector, defended), clean)
    with torch.no_grad():
        far = build(zoo["perceptual"]).distance(defended, seen.images)
    return {
        "perceptual": _mean(far),
        "identity": _mean(kept),
        "psnr": _mean(psnr(defended, seen.images)),
    }


def table() -> str:
    """Means over people, and the worst of A, B, C against ASPL with its interval."""
    shown = [["purifier", "attack", "people", "perceptual", "identity kept", "PSNR"]]
    for purifier in PURIFIERS:
        found = _by_attack(purifier)
        found["worst of A, B, C"] = worst = _worst(found)
        for attack, people in found.items():
            if people:
                means = [fmean(row[m] for row in people.values()) for m in _METRICS]
                shown.append([purifier, attack, str(len(people)), *(f"{m:.3f}" for m in means)])
        if worst and found.get("aspl"):
            shown.append(_difference(purifier, worst, found["aspl"]))
    return f"{markdown(shown)}\n\n{markdown(_curves())}"


_METRICS = ("perceptual", "identity", "psnr")
People = dict[str, dict[str, Any]]


def _by_attack(purifier: str) -> dict[str, People]:
    found: dict[str, People] = {attack: {} for attack in ATTACKS}
    for row in lines(RECORD):
        if row["purifier"] == purifier and not row["variant"]:
            found[row["attack"]][row["person"]] = row
    return found


def _worst(found: dict[str, People]) -> People:
    """Of each person the level with the largest perceptual distance."""
    people = set.intersection(*(set(found[level]) for level in "ABC"))
    return {
        p: max((found[level][p] for level in "ABC"), key=lambda row: row["perceptual"])
        for p in sorted(people)
    }


def _difference(purifier: str, worst: People, aspl: People) -> list[str]:
    people = sorted(worst.keys() & aspl.keys())
    cells = []
    for metric in _METRICS:
        a, b = ([found[p][metric] for p in people] for found in (worst, aspl))
        found = mean_difference(a, b)
        cells.append(interval(found, sign="+"))
    return [purifier, "worst - aspl", str(len(people)), *cells]


def _curves() -> list[list[str]]:
    variants = [row for row in lines(RECORD) if row["variant"]]
    shown = [["attack", "strength", "people", "perceptual", "identity kept"]]
    for attack in "ABC":
        for curve in CURVES:
            of_it = [r for r in variants if (r["attack"], r["variant"]) == (attack, curve)]
            if of_it:
                means = [f"{fmean(r[m] for r in of_it):.3f}" for m in _METRICS[:2]]
                shown.append([attack, curve, str(len(of_it)), *means])
    return shown


def _mean(values: Tensor) -> float:
    return float(values.float().mean())


def _key(row: dict[str, Any]) -> Key:
    return row["person"], row["purifier"], row["attack"], row["variant"]


if __name__ == "__main__":
    main(*sys.argv[1:])
