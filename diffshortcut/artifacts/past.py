"""What the stages of a store took, and so what others like them will take."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from diffshortcut.artifacts import keys
from diffshortcut.artifacts.artifact import MARKER
from diffshortcut.artifacts.store import EVICTED
from diffshortcut.disk import bytes_in, read_object

# a stage, and the digest of its config or of what in it decides the work; in plans its method
Like = tuple[str, str]
# besides what keys call neutral: values that change a result, but hardly how long it takes
SAME_WORK = {"radius", "step", "learning_rate"} | {
    *("prompt", "prompts", "instance_prompt", "class_prompt", "negative_prompt"),
    *("suffix", "inference_suffix"),
}


@dataclass(frozen=True)
class Took:
    """What one stage took: seconds, bytes of memory at the peak, bytes on the disk.

    `rough`: none like it has run, the seconds are told from its operations, of a training the disk
    from the weights that it changes, and the rest is unknown.
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
    """The median of what stages of the same config took, else of those with the same `work`.

    None if neither has ever run: a stage with fewer steps, as a debug preset has, says nothing.
    """
    same = known.get((task.stage, keys.digest(task.config)))
    like = same or known.get((task.stage, work(task.config)))
    if not like:
        return None
    columns = ((took.seconds, took.memory, took.disk) for took in like)
    seconds, memory, disk = (median(column) for column in zip(*columns, strict=True))
    return Took(seconds, int(memory), int(disk))


def read(root: Path) -> dict[Like, list[Took]]:
    """What every stage of a store took, by its config and by its work."""
    found: dict[Like, list[Took]] = defaultdict(list)
    for stage, told, took in _records(root):
        found[stage, keys.digest(told)].append(took)
        found[stage, work(told)].append(took)
    return found


def work(config: Mapping[str, Any]) -> str:
    """A digest of what in a config decides how much there is to do: its methods, models, counts."""
    return keys.digest(_counted(config))


def _counted(node: Any, where: str = "") -> Any:
    """Without the values that do not count; of prompts their number does."""
    if isinstance(node, Mapping):
        return {key: _counted(child, f"{where}.{key}") for key, child in node.items()}
    if isinstance(node, list):
        return [_counted(child, where) for child in node]
    return None if keys.is_neutral(where) or where.rpartition(".")[2] in SAME_WORK else node


def _records(root: Path) -> Iterator[tuple[str, dict[str, Any], Took]]:
    for marker in (*root.glob(f"*/*/{MARKER}"), *root.glob(f"{EVICTED}/*/*/{MARKER}")):
        try:
            told = read_object(marker)["provenance"]
            memory = told.get("peak_device_memory", told["peak_memory"])
            # a record of before does not tell them
            disk = told["bytes"] if "bytes" in told else bytes_in(marker.parent)
            yield told["stage"], told["config"], Took(told["seconds"], memory, disk)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # broken, or being written: the store will see to it
