"""kill -9 and power cuts at every write point of a whole cell, then the same command again."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_world import World

pytestmark = pytest.mark.faults
SAMPLE = 10  # kills in the sample of CI
ARTIFACTS = 8  # of the cell
KIND = "kill -9 or power cut at a write point"
Tried = Callable[[str], None]
Point = tuple[tuple[str, ...], int]


def points_of(world: World) -> list[int]:
    """The write points of a run in a world, which is completed by that, by number from 1.

    Without those of the results, unless nothing else is written.
    """
    counted = world.root.with_suffix(".points")
    roots = [str(world.store), str(world.outputs)]
    assert world.run(write_points={"roots": roots, "counted": str(counted)}) == 0, world.said
    places = [Path(path) for _, path in json.loads(counted.read_text())]
    of_store = [i for i, path in enumerate(places, 1) if path.is_relative_to(world.store)]
    lease = any(path.parent.name == "leases" for path in places)
    return of_store if lease else list(range(1, len(places) + 1))


def survive(reference: World, world: World, point: int) -> None:
    """Die at a write point: nothing else is lost, nothing false is there, the rerun is equal."""
    before, truth = world.payload(), reference.payload()
    roots = [str(world.store), str(world.outputs)]
    assert world.run(write_points={"roots": roots, "die_at": point}) == -9, world.said
    world.check_nothing_false(truth)
    assert before.keys() <= world.payload().keys()
    assert world.run() == 0, world.said
    world.check_complete(reference)
    shutil.rmtree(world.root)


@pytest.fixture(scope="module")
def stages(reference: World) -> list[tuple[str, ...]]:
    """The artifacts of the cell by their place in the store, then none for the results."""
    return [(path.relative_to(reference.store).as_posix(),) for path in reference.stages()] + [()]


@pytest.fixture(scope="module")
def points(
    reference: World, stages: list[tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory
) -> list[Point]:
    """Every write point of the cell: the artifact that is lacking, and the number of the point."""
    found: list[Point] = []
    for stage in stages:
        world = reference.lacking(tmp_path_factory.mktemp("counting") / "world", *stage)
        found += [(stage, point) for point in points_of(world)]
    return found


@pytest.mark.slow
def test_ten_write_points(
    reference: World, points: list[Point], tmp_path: Path, tried: Tried
) -> None:
    for stage, point in points[:: -(-len(points) // SAMPLE)]:
        tried(KIND)
        survive(reference, reference.lacking(tmp_path / f"{point}", *stage), point)


@pytest.mark.parametrize("number", range(ARTIFACTS + 1))
def test_every_write_point(
    reference: World,
    stages: list[tuple[str, ...]],
    points: list[Point],
    tmp_path: Path,
    tried: Tried,
    number: int,
) -> None:
    assert len(stages) == ARTIFACTS + 1
    for stage, point in points:
        if stage == stages[number]:
            tried(KIND)
            survive(reference, reference.lacking(tmp_path / f"{point}", *stage), point)


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again(reference: World, world: World, tried: Tried, seed: int) -> None:
    """From an empty store, each run dies somewhere, until one does not."""
    draws = random.Random(seed)
    roots = [str(world.store), str(world.outputs)]
    truth = reference.payload()
    for _ in range(1000):
        code = world.run(write_points={"roots": roots, "die_at": draws.randint(1, 60)})
        world.check_nothing_false(truth)
        if code == 0:
            break
        assert code == -9, world.said
        tried(KIND)
    world.check_complete(reference)
