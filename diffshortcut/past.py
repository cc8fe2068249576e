"""What the stages of a store took, and so what others like them will take."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from diffshortcut import keys
from diffshortcut.disk import read_object
from diffshortcut.store import MARKER

Like = tuple[str, str]  # a stage, and its config's digest or its method


@dataclass(frozen=True)
class Took:
    """What one stage took: seconds, bytes of memory at the peak, bytes on the disk.

    `rough`: none like it has run, the seconds are told from its operations and the rest is unknown.
    """

    seconds: float
    memory: int = 0
    disk: int = 0
    rough: bool = False


class Staged(Protocol):
    """What a plan has to know of a task."""

    @property
    def stage(self) -> str: ...
    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def key(self) -> str: ...


def expected(task: Staged, known: Mapping[Like, list[Took]]) -> Took | None:
    """The median of what stages of the same config took, else of the same method."""
    same = known.get((task.stage, keys.digest(task.config)))
    like = same or known.get((task.stage, keys.method(task.config)))
    if not like:
        return None
    columns = ((took.seconds, took.memory, took.disk) for took in like)
    seconds, memory, disk = (median(column) for column in zip(*columns, strict=True))
    return Took(seconds, int(memory), int(disk))


def read(root: Path) -> dict[Like, list[Took]]:
    """What every stage of a store took, by its config and by its method."""
    found: dict[Like, list[Took]] = defaultdict(list)
    for stage, told, took in _records(root):
        found[stage, keys.digest(told)].append(took)
        found[stage, keys.method(told)].append(took)
    return found


def _records(root: Path) -> Iterator[tuple[str, dict[str, Any], Took]]:
    for marker in root.glob(f"*/*/{MARKER}"):
        try:
            told = read_object(marker)["provenance"]
            disk = sum(file.stat().st_size for file in marker.parent.rglob("*"))
            memory = told.get("peak_device_memory", told["peak_memory"])
            yield told["stage"], told["config"], Took(told["seconds"], memory, disk)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # broken, or being written: the store will see to it
