"""The graph on Ray: resident workers, each with its own models in memory, on one or many machines.

Ray places the workers (a GPU or some cores each), starts them, sees them die and carries calls to
them; the standard library's TopologicalSorter says what is ready. Plain Ray tasks that depend on
each other's ObjectRefs would need no loop here, but Ray ends the process of a GPU task with the
task, or reuses it with another GPU: either way the loaded models are lost, which cost more than
most stages. So there is an actor per GPU, and a free one gets the next ready task, if there is one
of the kind that it has just done (same stage, same models).
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

from diffshortcut.artifacts import keys
from diffshortcut.artifacts.store import Store
from diffshortcut.disk import StoreError
from diffshortcut.errors import UserError
from diffshortcut.graph import evict, execute
from diffshortcut.graph.cells import Failure, Task
from diffshortcut.launch.board import Board
from diffshortcut.launch.cluster import Cluster, Event, Resident, last_line
from diffshortcut.launch.options import Options
from diffshortcut.launch.ready import Ready, kind
from diffshortcut.launch.record import Failures, Record

log = logging.getLogger(__name__)
WAIT = 1.0  # seconds between two looks at what runs
PATIENCE = 60.0  # seconds without any worker until it is said


def run(
    tasks: Sequence[Task],
    *,
    store: Store,
    runtime: Mapping[str, Any],
    options: Options,
    board: Board,
    record: Record,
) -> list[Failure]:
    """Do all tasks, which have been judged, on Ray's workers; what could not be done is returned.

    UserError if Ray is not installed, if no worker is left that starts, or with fail_fast for the
    first failure.
    """
    modules = sorted({name for task in tasks for name in keys.modules(task.stage, task.config)})
    with Cluster(store, runtime, options, record, modules) as cluster:
        return _Run(tasks, cluster, runtime, options, board, record).all()


class _Run:
    """One pass over the graph."""

    def __init__(
        self,
        tasks: Sequence[Task],
        cluster: Cluster,
        runtime: Mapping[str, Any],
        options: Options,
        board: Board,
        record: Record,
    ) -> None:
        self.tasks = {task.key: task for task in tasks}
        self.cluster, self.board, self.record = cluster, board, record
        self.fail_fast, self.retries = runtime["fail_fast"], options["retries"]
        self.graph: TopologicalSorter[str] = TopologicalSorter()
        for task in tasks:
            parents = (parent.key for parent in task.inputs.values())
            self.graph.add(task.key, *(key for key in parents if key in self.tasks))
        self.graph.prepare()
        self.ready = Ready(tasks)
        self.readers = evict.Readers(tasks, cluster.store, runtime)
        self.failures = Failures(record)
        self.lost: Counter[str] = Counter()
        self.too_large: dict[str, tuple[int, ...]] = {}

    def all(self) -> list[Failure]:
        """Every task's end."""
        seen = time.monotonic()
        while self.graph.is_active():
            self._count_workers()
            self._collect()
            self.failures.write()
            self._feed()
            for event in self.cluster.wait(WAIT):
                seen = time.monotonic()
                if event.task:
                    self._ended(self.tasks[event.task], event)
            if not self.cluster.workers and time.monotonic() - seen > PATIENCE:
                seen = time.monotonic()
                log.warning("waiting for a worker: the cluster has no room for one")
        self.failures.write()
        return list(self.failures.by_key.values())

    def _count_workers(self) -> None:
        """How many share the work, for whoever looks: fewer once one is given up."""
        if (count := len(self.cluster.shapes)) != self.board.workers:
            self.board.workers = count
            self.record.write_workers(count)

    def _collect(self) -> None:
        """What is ready now; of that, what reads a failed stage has failed."""
        while found := self.graph.get_ready():
            for key in found:
                if failure := execute.blocked(self.tasks[key], self.failures.by_key):
                    self._fail(failure)
                else:
                    self.ready.add(self.tasks[key])

    def _feed(self) -> None:
        for worker in self.cluster.idle():
            if task := self._next(worker):
                worker.kind = kind(task)
                self.board.tell(task, "running")
                self.cluster.give(worker, task, self.too_large.get(task.key, ()))

    def _next(self, worker: Resident) -> Task | None:
        """The best for a worker, past models that nothing reads any more."""
        left = self.cluster.has_light
        while task := self.ready.take(worker.kind, light=worker.light, light_left_to_others=left):
            if not self.readers.are_done(task):
                return task
            self._done(task)
        return None

    def _ended(self, task: Task, event: Event) -> None:
        outcome = event.outcome
        if outcome is None:
            self._was_lost(task, event)
        elif outcome.stop:
            raise StoreError(outcome.reason)
        elif outcome.reason:
            self._fail(Failure(task, outcome.reason, outcome.log))
        else:
            self._done(task)

    def _done(self, task: Task) -> None:
        self.graph.done(task.key)
        self.readers.done(task)
        self.board.tell(task, "done")

    def _was_lost(self, task: Task, event: Event) -> None:
        """Its worker died: again elsewhere, and smaller if it was for want of memory.

        Only what does not shrink it is one of the retries: it can be halved a few times at most.
        """
        before = self.too_large.get(task.key, ())
        size = before[-1] // 2 if before else execute.micro_batch(task)
        if event.out_of_memory and size > 1:
            self.too_large[task.key] = before = (*before, size)
        else:
            self.lost[task.key] += 1
        if self.lost[task.key] > self.retries:
            reason = f"its worker died {len(before) + self.lost[task.key]} times"
            if event.out_of_memory:
                reason += ", killed for want of memory"
            elif event.error:
                reason += f": {last_line(event.error)}"
            self._fail(Failure(task, reason, self.record.log(task)))
        else:
            log.warning("%s: its worker died; it is tried again", task.title)
            self.board.tell(task, "waiting")
            self.ready.add(task)

    def _fail(self, failure: Failure) -> None:
        self.failures.add(failure)
        self.board.tell(failure.task, "failed")
        if self.fail_fast:
            self.failures.write()
            where = f" ({failure.log})" if failure.log else ""
            raise UserError(f"fail_fast: {failure.task.title}: {failure.reason}{where}")
        self.graph.done(failure.task.key)
