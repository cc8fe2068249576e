"""How the time of the stages grows with people, pictures, image size and arms, on short schedules.

Whole cells of `debug=tiny`, each number of them in a store of its own, some rounds of all numbers:
medians. Seconds of a stage are those that the store records, summed over the stages of its kind.
Attacks look at their objective for one held-out draw.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from diffshortcut.artifacts.store import Store
from diffshortcut.bench.costs import short
from diffshortcut.bench.pairs import Effort
from diffshortcut.bench.records import Growth, Job
from diffshortcut.config import config
from diffshortcut.data import portraits
from diffshortcut.data.person import Person
from diffshortcut.graph import cells, execute
from diffshortcut.graph.cells import Task

PART = "growth"
SHORT = ("debug=tiny", "logger=none", "attack=aspl", "attack.rounds=1", "purifier=sr")
RUNTIME = {"device": "cpu", "threads": 1, "fail_fast": True, "checkpoint_minutes": 10}
WHOLE, LEAST = "all stages", 1e-3  # seconds: what a record rounds to
ARMS = ["none", "gaussian", "jpeg", "adverse_cleaner", "vae", "codeformer"]
ARMS += ["[gaussian,jpeg]", "[jpeg,gaussian]"]
Plan = Callable[[int], list[Task]]


def jobs(person: Person, effort: Effort) -> dict[str, Job]:
    """A job per axis."""
    axes: dict[str, tuple[Plan, tuple[int, ...]]] = {
        "people": (of_people, (1, 2, 4)),
        "pictures": (partial(of_pictures, person), (1, 2, 4, 8)),
        "pixels a side": (partial(of_size, person), (64, 128, 256)),
        "arms": (partial(of_arms, person), (1, 2, 4, 8)),
    }
    return {
        axis: partial(growths, axis, plan, at, effort.rounds) for axis, (plan, at) in axes.items()
    }


def of_people(count: int) -> list[Task]:
    """The cells of an arm."""
    return cells.merge(_cell(person) for person in portraits.people(people=count))


def of_pictures(person: Person, count: int) -> list[Task]:
    """A person with so many pictures to protect, who is also generated so often."""
    every = (*person.set_A, *person.set_B, *person.set_C)
    some = replace(person, set_B=every[:count])
    return cells.merge([_cell(some, f"sampler.images={count}")])


def of_size(person: Person, side: int) -> list[Task]:
    """What is told a size: the model generates pictures of its own only."""
    cell = _cell(person, side=side)
    return [task for task in cells.merge([cell]) if not _is_generated(task)]


def of_arms(person: Person, count: int) -> list[Task]:
    """A person's cells behind one protection."""
    return cells.merge(_cell(person, f"purifier={purifier}") for purifier in ARMS[:count])


def growths(axis: str, plan: Plan, at: Sequence[int], rounds: int) -> list[Growth]:
    """Of every kind of stage that is there at every number."""
    seconds(plan(at[0]))  # loads what stages keep
    found = [[seconds(plan(number)) for number in at] for _ in range(rounds)]
    kinds = [kind for kind in (*cells.STAGES, WHOLE) if all(kind in one for one in found[0])]
    medians = {
        kind: [median(turn[place][kind] for turn in found) for place in range(len(at))]
        for kind in kinds
    }
    return [
        Growth(part=PART, name=kind, axis=axis, at=list(at), seconds=values)
        for kind, values in medians.items()
    ]


def seconds(tasks: Sequence[Task]) -> dict[str, float]:
    """Of each kind of stage, and of all with what is around them."""
    with TemporaryDirectory() as root:
        store, found = Store(Path(root)), defaultdict[str, float](float)
        start = time.perf_counter()
        with short():
            execute.run(tasks, store=store, runtime=RUNTIME)
        found[WHOLE] = time.perf_counter() - start
        for task in tasks:
            took = store.provenance(task.stage, task.key)["seconds"]
            found[task.stage] += max(took, LEAST)
    return found


def _cell(person: Person, *more: str, side: int | None = None) -> dict[str, Task]:
    resolved = config.resolve(config.compose([*SHORT, *more]))
    if side is not None:
        resolved["zoo"]["resolution"] = side
    return cells.plan(resolved, person)


def _is_generated(task: Task) -> bool:
    return any(ancestor.stage == "generate" for ancestor in task.ancestry())
