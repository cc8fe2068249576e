"""A disk that is full at each stage, and one that cannot be written."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from broken_world import World

pytestmark = pytest.mark.faults
Tried = Callable[[str], None]
PARTS = ("prior", "protect", "purify", "personalize", "generate", "score", "results")
MEGABYTES = 80


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own; skipped where one may not mount."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def on_disk(reference: World, disk: Path, part: str) -> World:
    """The unbroken run without its results and without one stage, on the small disk."""
    world = World(disk, reference.forge)
    ignored = shutil.ignore_patterns("tmp", "quarantine", part)
    shutil.copytree(reference.store, world.store, ignore=ignored)
    return world


def fill(disk: Path, free: int) -> Path:
    """A file that leaves only `free` bytes."""
    filler = disk / "filler"
    with filler.open("wb") as stream:
        left = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - free
        os.posix_fallocate(stream.fileno(), 0, left)
    return filler


@pytest.mark.parametrize("free", [0, 8192], ids=["no byte", "two pages"])
@pytest.mark.parametrize(
    "part", [pytest.param(p, marks=[pytest.mark.slow] if p == "personalize" else []) for p in PARTS]
)
def test_a_full_disk_is_one_line_and_nothing_is_lost(
    reference: World, disk: Path, tmp_path: Path, tried: Tried, part: str, free: int
) -> None:
    world = on_disk(reference, disk, part)
    before = world.payload()
    filler = fill(disk, free)
    tried("full disk")
    log = tmp_path / "log"
    (world.root / "log").symlink_to(log)
    assert world.run() == 1, world.said
    last = world.said.splitlines()[-1]
    assert last.startswith("error: no space left on the disk of ") and "Traceback" not in world.said
    assert world.payload() == before
    world.check_nothing_false(reference.payload())
    assert [path.name for path in (world.store / "leases").glob("*-*")] == []
    filler.unlink()
    assert world.run() == 0, world.said
    world.check_complete(reference)


@pytest.mark.slow
@pytest.mark.parametrize("complete", [False, True], ids=["to do", "all done"])
def test_a_read_only_disk_is_one_line_or_answers(
    reference: World, disk: Path, tmp_path: Path, tried: Tried, complete: bool
) -> None:
    world = on_disk(reference, disk, "generate")
    if complete:
        assert world.run() == 0
    (world.root / "log").unlink(missing_ok=True)
    (world.root / "log").symlink_to(tmp_path / "log")
    remount = ["mount", "-o", "remount,ro", str(disk)]
    if subprocess.run(remount, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be made read-only here")
    tried("read-only disk")
    if complete:
        assert world.run() == 0 and "record.json" in world.said
    else:
        assert world.run() == 1
        last = world.said.splitlines()[-1]
        assert last.startswith("error: cannot write to ") and "Read-only file system" in last
