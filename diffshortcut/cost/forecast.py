"""The forecast of stages that are to run: how many, how long, how much memory and disk.

Told by what like stages of the store took, else by their operations: as `plan` says to its users.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffshortcut.artifacts import keys, past
from diffshortcut.artifacts.past import Like, Staged, Took
from diffshortcut.artifacts.store import Store
from diffshortcut.cost import columns
from diffshortcut.cost.columns import StageCosts
from diffshortcut.cost.estimate import Cost
from diffshortcut.disk import free
from diffshortcut.graph import evict
from diffshortcut.graph.cells import STAGES, Task
from diffshortcut.units import duration, size

HEADER = ["stage", "method", "there", "to do", "time", "memory", "disk", *columns.HEADER]


@dataclass(frozen=True)
class Line:
    """The stages of one method: how many are there, what each of the others will take."""

    stage: str
    method: str
    there: int
    expected: list[Took | None]  # None: no stage like it has ever run in this store
    to_do: StageCosts  # the others, and what they cost
    largest: float  # bytes above which a trained model is evicted

    @property
    def seconds(self) -> float:
        """Of those that can be told."""
        return sum(took.seconds for took in self.expected if took)

    @property
    def disk(self) -> int:
        """Bytes on the disk, of those that can be told; of what is evicted there is one at once."""
        known = [took.disk for took in self.expected if took]
        evicted = [disk for disk in known if self.stage == "personalize" and disk > self.largest]
        return sum(known) - sum(evicted) + max(evicted, default=0)

    def cells(self, *, cost: bool = True) -> list[str]:
        """As a row under HEADER; without `cost` its last two columns are left out, uncounted."""
        known = [took for took in self.expected if took]
        measured = [took for took in known if not took.rough]
        memory = f"{max(took.memory for took in measured) / 1e9:.1f} GB" if measured else "-"
        guessed = "~ " if any(took.rough and took.disk for took in known) else ""
        disk = f"{guessed}{self.disk / 1e6:.0f} MB" if measured or guessed else "-"
        said = duration(self.seconds) if known else "-"
        if measured != known:
            said = f"~ {said}"
        if known and len(known) < len(self.expected):
            said = f"> {said}"
        todo = str(len(self.expected))
        took = [self.stage, self.method, str(self.there), todo, said, memory, disk]
        return [*took, *(self.to_do.cells() if cost else [])]


def lines(
    tasks: Sequence[Task],
    store: Store,
    runtime: Mapping[str, Any],
    finished: Iterable[Sequence[str]] = (),
) -> list[Line]:
    """The plan, a line per stage and method in the order in which they run.

    `finished` are stages (stage, method, key) that are there besides the tasks, each once.
    """
    known = {task.key for task in tasks}
    there = Counter((stage, name) for stage, name, key in finished if key not in known)
    todo = evict.to_do(tasks, store, runtime, verify=False)
    known_here = past.read(store.root) if todo else {}
    expected: dict[Like, list[Took | None]] = {like: [] for like in there}
    for task in tasks:
        expected.setdefault((task.stage, keys.method(task.config)), [])
    needed: dict[Like, list[Task]] = {like: [] for like in expected}
    for task in todo:
        expected[task.stage, keys.method(task.config)].append(past.expected(task, known_here))
        needed[task.stage, keys.method(task.config)].append(task)
    of_tasks = Counter((task.stage, keys.method(task.config)) for task in tasks)
    return [
        Line(
            *like,
            there[like] + of_tasks[like] - len(of_it),
            of_it,
            StageCosts(" ".join(like), needed[like]),
            evict.limit(runtime),
        )
        for like, of_it in sorted(expected.items(), key=lambda item: STAGES.index(item[0][0]))
    ]


def roughly(found: Sequence[Line], runtime: Mapping[str, Any]) -> list[Line]:
    """The lines with a rough time for stages like which none has run, if they can be counted."""
    from diffshortcut.cost.pace import pace

    if all(None not in line.expected for line in found):
        return list(found)
    speed = pace(runtime)
    return [replace(line, expected=_counted(line, speed)) for line in found] if speed else [*found]


def _counted(line: Line, speed: float) -> list[Took | None]:
    if None not in line.expected:
        return line.expected
    tried = zip(line.expected, line.to_do.costs, strict=True)
    return [
        took or (None if cost.reason else _rough(line.stage, cost, speed)) for took, cost in tried
    ]


def _rough(stage: str, cost: Cost, speed: float) -> Took:
    """Of a training that has never run, what it leaves on the disk too: the weights it changes."""
    disk = cost.trained if stage == "personalize" else 0
    return Took(cost.flops / speed, disk=disk, rough=True)


def expected_seconds(tasks: Sequence[Staged], store: Store) -> dict[str, float | None]:
    """What each task will take, by its key; None if no stage like it has ever run in the store."""
    known = past.read(store.root)
    found = {task.key: past.expected(task, known) for task in tasks}
    return {key: took.seconds if took else None for key, took in found.items()}


def summary(found: list[Line]) -> str:
    """One line: how much there is to do, and how long it takes at least."""
    expected = [took for line in found for took in line.expected]
    if not expected:
        return "nothing to do: every stage is there"
    never = sum(took is None for took in expected)
    rough = sum(took is not None and took.rough for took in expected)
    text = f"{len(expected)} of {len(expected) + sum(line.there for line in found)} stages to do"
    if never < len(expected):
        text += f", about {'~ ' if rough else ''}{duration(sum(line.seconds for line in found))}"
        text += _room(found)
    if rough:
        text += f" ({rough} of them told from their operations: none like them has run here)"
    return text + (f", and {never} like which none has run here" if never else "")


def _room(found: Sequence[Line]) -> str:
    """Memory at the peak and the disk in all, as far as they can be told."""
    expected = [took for line in found for took in line.expected]
    memory = max(took.memory for took in expected if took)
    disk = sum(line.disk for line in found)
    text = f", {size(memory)} of memory" if memory else ""
    text += f", {size(disk)} on the disk" if disk else ""
    more = any(took is None or took.rough for took in expected)
    return f"{text} or more" if text and more else text


def crowded(found: Iterable[Line], store: Path) -> list[str]:
    """A warning if what can be told of the disk does not fit where the store is."""
    needed, there = sum(line.disk for line in found), free(store)
    if needed <= there:
        return []
    return [
        f"the disk of {store.absolute()} has {size(there)} free, this needs {size(needed)} or more:"
        " runtime.store=FOLDER puts it elsewhere"
    ]
