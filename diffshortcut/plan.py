"""`python -m diffshortcut.plan attack=metacloak purifier=ours`: what would run, what is there.

Takes the arguments of `diffshortcut.run` and runs nothing. Time, memory and disk are what like
stages of this store took: of the same config for other people, else of the same method. FLOPs and
needed memory are counted without running anything (`cost`).
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from diffshortcut import cells, keys, run, usage
from diffshortcut.cells import Task
from diffshortcut.cost import columns
from diffshortcut.cost.columns import Told
from diffshortcut.errors import UserError
from diffshortcut.report.sheet import Sheet
from diffshortcut.store import MARKER, Store

HEADER = ["stage", "method", "there", "to do", "time", "memory", "disk", *columns.HEADER]
Like = tuple[str, str]  # a stage, and its config's digest or its method


@dataclass(frozen=True)
class Took:
    """What one stage took: seconds, bytes of memory at the peak, bytes on the disk."""

    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Line:
    """The stages of one method: how many are there, what each of the others will take."""

    stage: str
    method: str
    there: int
    expected: list[Took | None]  # None: no stage like it has ever run in this store
    told: Told  # of those to do

    @property
    def seconds(self) -> float:
        """Of those that can be told."""
        return sum(took.seconds for took in self.expected if took)

    def cells(self) -> list[str]:
        """As a row under HEADER."""
        known = [took for took in self.expected if took]
        memory = f"{max(took.memory for took in known) / 1e9:.1f} GB" if known else "-"
        disk = f"{sum(took.disk for took in known) / 1e6:.0f} MB" if known else "-"
        said = duration(self.seconds) if known else "-"
        if known and len(known) < len(self.expected):
            said = f"> {said}"
        todo = str(len(self.expected))
        took = [self.stage, self.method, str(self.there), todo, said, memory, disk]
        return [*took, *self.told.cells()]


def lines(tasks: list[Task], store: Store) -> list[Line]:
    """The plan, a line per stage and method in the order in which they run."""
    history = _history(store.root)
    groups: dict[Like, list[Task]] = defaultdict(list)
    for task in tasks:
        groups[task.stage, method(task.config)].append(task)
    found = []
    for (stage, name), of_it in groups.items():
        todo = [task for task in of_it if not store.path(stage, task.key).is_dir()]
        expected = [_expected(task, history) for task in todo]
        told = Told(f"{stage} {name}", todo)
        found.append(Line(stage, name, len(of_it) - len(todo), expected, told))
    return found


def method(config: Mapping[str, Any]) -> str:
    """The name of the class or function that a stage's config builds."""
    return next(keys.targets(config), "").rpartition(".")[2]


def duration(seconds: float) -> str:
    """For people: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _expected(task: Task, history: Mapping[Like, list[Took]]) -> Took | None:
    same = history.get((task.stage, keys.digest(task.config)))
    like = same or history.get((task.stage, method(task.config)))
    if not like:
        return None
    columns = ((took.seconds, took.memory, took.disk) for took in like)
    seconds, memory, disk = (median(column) for column in zip(*columns, strict=True))
    return Took(seconds, int(memory), int(disk))


def _history(root: Path) -> dict[Like, list[Took]]:
    found: dict[Like, list[Took]] = defaultdict(list)
    for stage, config, took in _records(root):
        found[stage, keys.digest(config)].append(took)
        found[stage, method(config)].append(took)
    return found


def _records(root: Path) -> Iterator[tuple[str, dict[str, Any], Took]]:
    for marker in root.glob(f"*/*/{MARKER}"):
        try:
            told = json.loads(marker.read_text())["provenance"]
            disk = sum(file.stat().st_size for file in marker.parent.rglob("*"))
            yield told["stage"], told["config"], Took(told["seconds"], told["peak_memory"], disk)
        except (OSError, ValueError, KeyError):
            continue  # broken, or being written: the store will see to it


def summary(found: list[Line]) -> str:
    """One line: how much there is to do, and how long it takes at least."""
    expected = [took for line in found for took in line.expected]
    if not expected:
        return "nothing to do: every stage is there"
    never = sum(took is None for took in expected)
    text = f"{len(expected)} of {len(expected) + sum(line.there for line in found)} stages to do"
    if never < len(expected):
        text += f", about {duration(sum(line.seconds for line in found))}"
    return text + (f", and {never} like which none has run here" if never else "")


def main() -> None:
    """Print the plan of a command line."""
    overrides = sys.argv[1:]
    try:
        comparison = run.plan(overrides)
        of_arms = comparison.cells.values()
        tasks = cells.merge(cell for of_arm in of_arms for cell in of_arm.values())
        runtime = comparison.config["runtime"]
        found = lines(tasks, Store(Path(runtime["store"])))
        notes = columns.notes([line.told for line in found], runtime["device"])
    except UserError as error:
        sys.exit(f"error: {error}")
    except usage.CONFIG_ERRORS as error:
        sys.exit(f"error: {usage.explain(error, overrides)}")
    from rich.console import Console

    names = ", ".join(arm.name for arm in comparison.arms)
    title = f"arms: {names} | people: {len(comparison.people)}"
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(Sheet(title, HEADER, [line.cells() for line in found]).rich())
    for text in (summary(found), *notes):
        console.print(text, highlight=False, markup=False)


if __name__ == "__main__":
    main()
