"""Several processes on one cell, dead owners, clocks that go wrong, signals."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_world import World

from diffshortcut.artifacts.lease import Lease

pytestmark = pytest.mark.faults
Tried = Callable[[str], None]
LOSS = "diffshortcut.dreambooth:dreambooth_loss"  # of the personalization


def lacking(reference: World, root: Path, stage: str) -> tuple[World, Path]:
    """The unbroken run without its results and one artifact; the artifact's lease."""
    [folder] = reference.store.glob(f"{stage}/*")
    world = reference.lacking(root, stage)
    return world, world.store / "leases" / f"{stage}-{folder.name}"


@pytest.mark.parametrize("number", [pytest.param(2, marks=pytest.mark.slow), 8])
def test_processes_on_one_cell_compute_each_stage_once(
    reference: World, world: World, tried: Tried, number: int
) -> None:
    tried(f"{number} processes on one cell")
    made = world.root / "made"
    note = {"place": "diffshortcut.artifacts.provenance:cost", "file": str(made)}
    pids = [world.start(note=note) for _ in range(number)]
    assert [world.wait(pid, 600) for pid in pids] == [0] * number, world.said
    assert made.read_text() == "x" * len(reference.stages())
    world.check_complete(reference)


@pytest.mark.slow
def test_who_waits_for_a_process_that_is_killed_goes_on(
    reference: World, tmp_path: Path, tried: Tried
) -> None:
    world, lease = lacking(reference, tmp_path / "world", "personalize")
    first = world.start(slow={"place": LOSS, "seconds": 60})
    while not lease.exists():
        time.sleep(0.05)
    second = world.start()
    while "waiting for it" not in world.said:
        time.sleep(0.05)
    tried("owner killed while another waits")
    os.kill(first, signal.SIGKILL)
    assert world.wait(first) == -9
    assert world.wait(second, 100) == 0, world.said
    world.check_complete(reference)


@pytest.mark.parametrize(
    ("owner", "offset"),
    [
        pytest.param({"pid": 4194304}, 0, id="dead here", marks=pytest.mark.slow),
        pytest.param({"started": "1"}, 0, id="its id used again"),
        pytest.param({"host": "elsewhere"}, 0, id="dead elsewhere"),
        pytest.param({"pid": 4194304}, -3600, id="dead here, clock set back"),
        pytest.param(
            {"host": "elsewhere"}, -3600, id="dead elsewhere, set back", marks=pytest.mark.slow
        ),
        pytest.param({"host": "elsewhere"}, 3600, id="dead elsewhere, clock set forward"),
    ],
)
def test_the_lease_of_a_dead_owner_is_taken_over(
    reference: World, tmp_path: Path, tried: Tried, owner: dict[str, object], offset: float
) -> None:
    world, path = lacking(reference, tmp_path / "world", "generate")
    tried("dead owner of a lease" if offset == 0 else "clock that goes wrong")
    path.write_text(json.dumps({**json.loads(Lease(path)._text), **owner}))
    assert world.run(clock={"offset": offset}) == 0, world.said
    world.check_complete(reference)


@pytest.mark.parametrize("offset", [-(10**6), pytest.param(10**6, marks=pytest.mark.slow)])
def test_a_clock_that_is_wrong_changes_nothing(
    reference: World, world: World, tried: Tried, offset: float
) -> None:
    tried("clock that goes wrong")
    assert world.run(clock={"offset": offset}) == 0, world.said
    world.check_complete(reference)


PLACES = {
    "prior": "diffshortcut.models.ldm:LatentDiffusion.predict",
    "protect": "diffshortcut.attacks.pgd:project",
    "purify": "diffshortcut.purifiers.jpeg:Jpeg.__call__",
    "personalize": LOSS,
    "generate": "diffshortcut.models.ldm:LatentDiffusion.with_weights",
    "score": "diffshortcut.metrics.ims:find",
    "results": "diffshortcut.job.results:gallery",
}


@pytest.mark.parametrize(
    "place",
    [pytest.param(p, marks=[pytest.mark.slow] if p == "personalize" else []) for p in PLACES],
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_signal_ends_it_tidily(
    reference: World, tmp_path: Path, tried: Tried, place: str, number: int
) -> None:
    world = reference.lacking(tmp_path / "world", *([place] if place != "results" else []))
    tried("SIGTERM or SIGINT")
    assert world.run(signal_at={"place": PLACES[place], "number": int(number)}) == 1
    assert world.said.splitlines()[-1] == "interrupted: the same command goes on from here"
    assert list((world.store / "tmp").glob("*")) == [] and "Traceback" not in world.said
    assert [path.name for path in (world.store / "leases").glob("*-*")] == []
    world.check_nothing_false(reference.payload())
    assert world.run() == 0, world.said
    world.check_complete(reference)
