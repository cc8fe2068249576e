"""How far a grid is: a live table on a terminal, a line per stage elsewhere."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from diffshortcut.artifacts import keys, past
from diffshortcut.artifacts.past import Staged
from diffshortcut.artifacts.store import Store
from diffshortcut.cost import forecast
from diffshortcut.graph.cells import STAGES, Task
from diffshortcut.progress import console
from diffshortcut.report.sheet import Sheet
from diffshortcut.units import duration

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

log = logging.getLogger(__name__)
STATES = ("done", "running", "failed", "waiting")
ENDED = ("done", "failed")
INTERVAL = 1.0  # seconds between two tables, each of which looks at every task
HEADER = ["stage", "method", *STATES, "left"]


class Board:
    """The states of the tasks; a context within which they are shown.

    Time left is what like stages took, in this store or since, over the number of `workers`.
    """

    def __init__(self, tasks: Sequence[Task], store: Store) -> None:
        self.tasks = tasks
        self.workers = 1
        self.states = {task.key: "waiting" for task in tasks}
        self._ended = 0
        self._expected = forecast.expected_seconds(tasks, store)
        self._like = {task.key: (task.stage, past.work(task.config)) for task in tasks}
        self._begun: dict[str, float] = {}
        self._live: Live | None = None
        self._drawn: Table | None = None
        self._is_new = True  # there is something that the drawn table does not show
        self._when = 0.0  # it was drawn

    def __enter__(self) -> "Board":
        if console().is_terminal:
            from rich.live import Live

            often = 1 / INTERVAL  # by a thread of Rich's
            self._live = Live(
                get_renderable=self._table, console=console(), refresh_per_second=often
            )
            self._live.start(refresh=True)
        return self

    def __exit__(self, *raised: object) -> None:
        if self._live:
            self._drawn = None
            self._live.stop()  # which draws once more

    def tell(self, task: Task, state: str) -> None:
        """Note a task's new state, and show it: on a terminal within a second or so."""
        self._ended += (state in ENDED) - (self.states[task.key] in ENDED)
        self.states[task.key] = state
        if state == "running":
            self._begun[task.key] = time.monotonic()
        elif state != "waiting":
            took = time.monotonic() - self._begun.get(task.key, time.monotonic())
            if self._expected.get(task.key) is None and state == "done":
                self._learn(task, took)
            if not self._live:
                log.info("%s: %s (%s, %.0f s)", self._count(), task.title, state, took)
        self._is_new = True

    def _learn(self, task: Task, took: float) -> None:
        """What no stage of this store told, the first like it does."""
        for key, like in self._like.items():
            if like == self._like[task.key] and self._expected[key] is None:
                self._expected[key] = took

    def _count(self) -> str:
        return f"{self._ended} of {len(self.tasks)}"

    def _table(self) -> "Table":
        """The last table, or a new one: Rich also asks when a bar within it begins or ends."""
        is_due = time.monotonic() - self._when >= INTERVAL
        if self._drawn is None or (self._is_new and is_due):
            self._is_new, self._when = False, time.monotonic()
            rows = sheet(self._count(), self.tasks, self.states, self._expected, self.workers)
            self._drawn = rows.rich()
        return self._drawn


def sheet(
    title: str,
    tasks: Sequence[Staged],
    states: Mapping[str, str],
    expected: Mapping[str, float | None],
    workers: int = 1,
) -> Sheet:
    """A row per stage and method: how many tasks are in which state, and the time they need yet."""
    groups: dict[tuple[str, str], list[str]] = {}
    for task in tasks:
        groups.setdefault((task.stage, keys.method(task.config)), []).append(task.key)
    rows = []
    for (stage, name), of_it in sorted(groups.items(), key=lambda g: STAGES.index(g[0][0])):
        count = Counter(states[key] for key in of_it)
        left = [expected.get(key) for key in of_it if states[key] in ("waiting", "running")]
        known = [seconds for seconds in left if seconds is not None]
        said = duration(sum(known) / workers) if known or not left else "-"
        rows.append([stage, name, *(str(count[state]) for state in STATES), said])
    return Sheet(title, HEADER, rows)
