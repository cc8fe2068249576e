"""Attacks that train a model of their own go on where they were killed, to the same bytes."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_world import World

pytestmark = pytest.mark.faults
STEP = "diffshortcut.attacks.pgd:project"  # once per step of the ascent


@pytest.mark.parametrize(
    ("attack", "rounds", "of_a_round"),  # debug=tiny; steps of the ascent in a round
    [
        pytest.param("aspl", 2, 6, marks=pytest.mark.slow),
        pytest.param("metacloak", 1 * 2 * 2, 6, marks=pytest.mark.long),  # of a trail's snapshots
        pytest.param("caat", 4, 1, marks=pytest.mark.long),
    ],
)
def test_killed_after_a_round_an_attack_repeats_that_round_only(
    attack: str,
    rounds: int,
    of_a_round: int,
    world: World,
    tmp_path: Path,
    tried: Callable[[str], None],
) -> None:
    world.overrides += [f"attack={attack}", "stages=protect"]
    whole = World(tmp_path / "whole", world.forge, list(world.overrides))
    steps = {name: {"place": STEP, "file": str(tmp_path / name)} for name in ("all", "rest")}
    assert whole.run(note=steps["all"]) == 0, whole.said
    count = len((tmp_path / "all").read_text())
    assert count == rounds * of_a_round
    tried("surrogate")
    last = {"place": STEP, "number": signal.SIGKILL, "at": count - 1}  # in the last round
    assert world.run(signal_at=last) == -9
    assert world.run(note=steps["rest"]) == 0, world.said
    assert len((tmp_path / "rest").read_text()) == of_a_round
    assert world.payload() == whole.payload()
