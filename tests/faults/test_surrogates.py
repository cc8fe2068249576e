"""Attacks that train a model of their own go on where they were killed, to the same bytes."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_world import World

pytestmark = pytest.mark.faults
STEP = "diffshortcut.attacks.pgd:project"  # once per step of the ascent


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param("aspl", marks=pytest.mark.slow),
        pytest.param("metacloak", marks=pytest.mark.long),
        pytest.param("caat", marks=pytest.mark.long),
    ],
)
def test_killed_after_a_round_an_attack_repeats_that_round_only(
    attack: str, world: World, tmp_path: Path, tried: Callable[[str], None]
) -> None:
    world.overrides += [f"attack={attack}", "stages=protect"]
    whole = World(tmp_path / "whole", world.forge, list(world.overrides))
    steps = {name: {"place": STEP, "file": str(tmp_path / name)} for name in ("all", "rest")}
    assert whole.run(note=steps["all"]) == 0, whole.said
    count = len((tmp_path / "all").read_text())
    tried("surrogate")
    last = {"place": STEP, "number": signal.SIGKILL, "at": count - 1}  # in the last round
    assert world.run(signal_at=last) == -9
    assert world.run(note=steps["rest"]) == 0, world.said
    assert 0 < len((tmp_path / "rest").read_text()) < count
    assert world.payload() == whole.payload()
