"""What must not change a byte, and how far what changes rounding may go (experiments/determinism).

Bytes are compared of all artifacts of a cell: protected, purified, generated pictures, the trained
model, the scores.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_world import TINY, World
from PIL import Image
from safetensors.numpy import load_file

pytestmark = pytest.mark.faults
Tell = Callable[..., None]


def subset(world: World, reference: World) -> None:
    """All that the reference has is in a world, byte by byte."""
    mine, truth = world.payload(), reference.payload()
    assert truth == {name: mine.get(name) for name in truth}


def test_a_repeated_run_gives_equal_bytes(reference: World, world: World) -> None:
    assert world.run() == 0, world.said
    world.check_complete(reference)


def test_a_process_of_its_own_gives_equal_bytes(reference: World, world: World) -> None:
    """Started anew, not forked; its hashes of strings are seeded otherwise."""
    world.root.mkdir()
    package = str(Path(__file__).parent.parent.parent)
    env = {**os.environ, "PYTHONPATH": package, "PYTHONHASHSEED": "7"}
    script = "from diffshortcut.stages import protect; from diffshortcut import run; "
    script += "protect.HELD_OUT = 1; run.main()"
    command = [sys.executable, "-c", script, *TINY]
    subprocess.run(command, cwd=world.root, env=env, check=True, capture_output=True)
    world.check_complete(reference)


@pytest.mark.parametrize("people", ["[person_000,person_001]", "[person_001,person_000]"])
def test_the_order_and_number_of_people_change_no_byte(
    reference: World, world: World, people: str
) -> None:
    assert world.run(f"data.people={people}") == 0, world.said
    subset(world, reference)


def test_other_arms_and_their_order_change_no_byte(reference: World, world: World) -> None:
    clean = "{name: clean, overrides: ['attack=none','purifier=none']}"
    other = "{name: other, overrides: ['purifier=gaussian']}"
    for arms in (f"[{clean},{other}]", f"[{other},{clean}]"):
        shutil.rmtree(world.root, ignore_errors=True)
        assert world.run(f"compare.arms={arms}") == 0, world.said
        subset(world, reference)


@pytest.mark.parametrize("at", [0, 4, 9])
def test_where_it_resumed_changes_no_byte(reference: World, world: World, at: int) -> None:
    place = "diffshortcut.attacks.pgd:project"
    assert world.run(signal_at={"place": place, "number": 9, "at": at}) == -9
    assert world.run() == 0, world.said
    world.check_complete(reference)


CHANGES = {  # what may change rounding: of the whole cell, one after the other
    "2 threads": ["runtime.threads=2"],
    "attack one image at once": ["attack.micro_batch=1"],
    "attack two images at once": ["attack.micro_batch=2"],
    "sampler one image at once": ["sampler.micro_batch=1"],
}
RADIUS = 11  # 8-bit levels, the default
WEIGHTS = "personalize/*/*/*.safetensors"
TOLERANCES = {  # experiments/determinism/README.md states them beside what was measured
    "protect": ("levels", 0.01),
    "purify": ("levels", 0.01),
    "personalize": ("relative", 1e-3),
    "generate": ("levels", 0.05),
    "score": ("difference", 5e-3),
}
STAGES = tuple(TOLERANCES)


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_rounding_stays_within_the_stated_tolerances(
    reference: World, world: World, change: str
) -> None:
    """The keys stay: whoever has made an artifact, it serves. What it amounts to later is kept."""
    assert world.run(*CHANGES[change]) == 0, world.said
    found = {stage: measure[stage](reference, world) for stage in STAGES}
    keep(change, found)
    assert reference.payload().keys() == world.payload().keys()
    for stage, (what, most) in TOLERANCES.items():
        assert found[stage][what] < most, found


def test_half_precision_has_keys_of_its_own_and_stays_near(reference: World, world: World) -> None:
    """bfloat16 changes more than rounding, so that it is another config: nothing is mistaken."""
    assert world.run("precision=bfloat16") == 0, world.said
    found = {stage: measure[stage](reference, world) for stage in STAGES}
    keep("bfloat16", found)
    ours, theirs = (
        {p.parent.name for p in w.store.glob("protect/*/*.json")} for w in (world, reference)
    )
    assert ours and not ours & theirs
    assert 0 < found["protect"]["levels"] < RADIUS / 2, found  # the sign of small slopes


def pictures(stage: str) -> Callable[[World, World], dict[str, float]]:
    """Share of sub-pixels that differ and the mean difference in 8-bit levels."""

    def compare(one: World, other: World) -> dict[str, float]:
        a, b = (
            np.stack([np.asarray(Image.open(path)).astype(int) for path in sorted(found)])
            for found in (w.store.glob(f"{stage}/*/images/*.png") for w in (one, other))
        )
        gap = np.abs(a - b)
        return {"share": float((gap > 0).mean()), "levels": float(gap.mean())}

    return compare


def models(one: World, other: World) -> dict[str, float]:
    """The distance of the trained weights relative to their norm."""
    pairs = zip(*(sorted(w.store.glob(WEIGHTS)) for w in (one, other)), strict=True)
    square = norm = 0.0
    for paths in pairs:
        a, b = map(load_file, paths)
        square += sum(float(np.square(a[name] - b[name]).sum()) for name in a)
        norm += sum(float(np.square(a[name]).sum()) for name in a)
    return {"relative": (square / norm) ** 0.5}


def scores(one: World, other: World) -> dict[str, float]:
    """The largest difference of a person's mean of any score in [-1, 1] (ims, q)."""

    def means(world: World) -> dict[str, float]:
        lines = [p.read_text().splitlines() for p in sorted(world.store.glob("score/*/rows.jsonl"))]
        rows = [json.loads(line) for part in lines for line in part]
        values = {m: [r["value"] for r in rows if r["metric"] == m] for m in ("ims", "q")}
        return {metric: float(np.mean(found)) for metric, found in values.items()}

    a, b = means(one), means(other)
    return {"difference": max(abs(a[metric] - b[metric]) for metric in a)}


measure: dict[str, Callable[[World, World], dict[str, float]]] = {
    **{stage: pictures(stage) for stage in ("protect", "purify", "generate")},
    "personalize": models,
    "score": scores,
}


def keep(change: str, found: dict[str, Any]) -> None:
    """Add a line to the file that DETERMINISM_RECORD names."""
    print(change, found)
    if place := os.environ.get("DETERMINISM_RECORD"):
        with open(place, "a") as stream:
            stream.write(json.dumps({"change": change, **found}) + "\n")
