"""The merged graph of a sweep's jobs: planned, run once, and then looked up by each job."""

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from diffshortcut import parallel
from diffshortcut.artifacts.store import Store
from diffshortcut.config import sweep, usage
from diffshortcut.disk import check_writable
from diffshortcut.errors import UserError
from diffshortcut.graph import cells, evict, execute
from diffshortcut.graph.cells import Failure
from diffshortcut.job import command, index, results
from diffshortcut.job.results import Comparison
from diffshortcut.launch import making
from diffshortcut.launch.announce import announce
from diffshortcut.launch.options import Options
from diffshortcut.launch.record import Record, failure_line
from diffshortcut.launch.together import Undone
from diffshortcut.progress import track

log = logging.getLogger(__name__)


class Grid:
    """What the jobs of a sweep have in common. The launcher calls prepare, answer and finish."""

    def __init__(self, show: Callable[[index.Entry], None]) -> None:
        self._show = show
        self._planned: dict[tuple[str, ...], Comparison] = {}
        self._record: Record | None = None  # of the jobs that were last prepared
        self._failed: list[Failure] = []  # of these
        self._refused: dict[tuple[str, ...], Exception] = {}  # of these, what cannot begin
        self._judged: set[str] = set()  # keys of tasks whose values are sound
        self.failures: dict[str, Failure] = {}  # by stage key: not to be tried again by the jobs
        self._undone = Undone()  # by jobs of a sweep that were not prepared
        self._asked = False  # with one of these, for all of them

    def comparison(self, overrides: Sequence[str]) -> Comparison:
        """A job's comparison, composed now if the sweep has not done so."""
        return self._planned.get(tuple(overrides)) or command.comparison(overrides)

    def answer(self, job: Sequence[str]) -> bool:
        """Show the result of a job that the index holds."""
        if entry := index.find(job):
            self._show(entry)
        return entry is not None

    def ask(self, jobs: Sequence[Sequence[str]]) -> None:
        """Ask now about jobs that other processes will do, if somebody sits at this terminal."""
        if not sys.stdin.isatty() or not parallel.in_charge():
            return
        found: list[Comparison] = []
        for job in track([job for job in jobs if not index.find(job)], "composing"):
            with suppress(Exception):  # the job itself will say it
                found.append(command.comparison(job))
        if found:
            runtime = evict.of_a_job(found[0].runtime)
            store = Store(Path(runtime["store"]))
            tasks = cells.merge(cell for comparison in found for _, _, cell in comparison)
            todo = evict.to_do(tasks, store, runtime)
            announce(todo, store, runtime, ask=runtime["confirm"], only_long=True)

    def prepare(self, jobs: Sequence[Sequence[str]], options: Options) -> None:
        """Run all stages that the jobs lack, each once; what cannot be done is in `failures`.

        Of a large sweep Hydra may prepare and launch some jobs after the other.
        """
        if parallel.launched():
            raise UserError("hydra/launcher=graph: without accelerate launch, as it starts workers")
        self._planned.clear()
        self._refused.clear()
        self._record, self._failed = None, []
        for job in track([job for job in jobs if not index.find(job)], "composing"):
            try:
                self._planned[tuple(job)] = self._judge(job)
            except Exception as error:  # the job itself will say it, with a traceback if need be
                self._refused[tuple(job)] = error
        if not self._planned:
            return
        store, runtime = self._runtime()
        found = self._planned.items()
        unfinished = {job: each for job, each in found if is_to_do(each, each.folder(job))}
        tasks = cells.merge(cell for found in unfinished.values() for _, _, cell in found)
        todo = evict.to_do(tasks, store, runtime)
        counts = len(jobs), len(unfinished), len(tasks), len(todo)
        log.info("jobs: %d, to do: %d | their stages: %d, to do: %d", *counts)
        if not unfinished:
            return
        self._record = record = _noted(jobs, unfinished, store)
        if todo:
            announce(todo, store, runtime, ask=options["confirm"] and runtime["confirm"])
            self._failed = making.run(todo, store, runtime, options, record)
            tried = {task.key for task in todo}
            before = {key: it for key, it in self.failures.items() if key not in tried}
            self.failures = before | {failure.task.key: failure for failure in self._failed}

    def run(self, job: Sequence[str], comparison: Comparison, *, ask: bool) -> list[Failure]:
        """Do what a job lacks; one that no launcher has prepared is a grid of its own.

        What a job of its sweep could not do here before it is not tried again.
        With `ask` more than an hour of work is asked for, on a terminal; of a sweep the first job
        that has something to do is asked with, for as many like it.
        """
        runtime = evict.of_a_job(comparison.runtime)
        store = Store(Path(runtime["store"]))
        todo = evict.to_do(comparison.tasks, store, runtime)
        if tuple(job) in self._planned or not todo:
            return execute.run(todo, store=store, runtime=runtime, known=self.failures)
        for task in todo:
            execute.load(task)
        record = _noted([job], {tuple(job): comparison}, store)
        known = self._undone.known_to(job)
        new = [task for task in todo if task.key not in known]
        ask = ask and not (self._asked and sweep.jobs() > 1)
        self._asked |= ask and bool(new)
        like_it = sweep.jobs() if ask else 1
        announce(new, store, runtime, ask=ask and runtime["confirm"], only_long=True, jobs=like_it)
        if len(list(comparison)) == 1:
            failures = making.here(todo, store, runtime, record, known=known)
        else:
            failures = making.on_board(todo, store, runtime, record, known)
        self._undone.add(failures)
        return failures

    def finish(self) -> None:
        """Say what could not be done, why, and where more is said."""
        for job, error in self._refused.items():
            reason = usage.line(error, job) or type(error).__name__
            log.error("not done: %s: %s", " ".join(job), reason)
        for failure in self._failed:
            log.error("%s", failure_line(failure.task.title, failure.reason, failure.log))
        if self._failed and self._record:
            log.error("not done: %d stages of %s", len(self._failed), self._record.folder)

    def _judge(self, job: Sequence[str]) -> Comparison:
        """A job composed; an error if it cannot begin: now, as another job's work may take days."""
        found = command.comparison(job)
        command.require_weights(found)
        if not is_to_do(found, found.folder(job)):
            return found
        if missing := command.lacking(found.tasks):
            raise UserError(missing)
        for task in found.tasks:
            if task.key not in self._judged:
                execute.load(task)
                self._judged.add(task.key)
        return found

    def _runtime(self) -> tuple[Store, dict[str, Any]]:
        """Of all jobs: UserError unless they agree."""
        found = [comparison.runtime for comparison in self._planned.values()]
        if any(other != found[0] for other in found):
            raise UserError("hydra/launcher=graph: runtime must be the same for all jobs")
        store = Store(Path(found[0]["store"]))
        check_writable(store.root)
        return store, found[0]


def is_to_do(comparison: Comparison, folder: Path) -> bool:
    """Whether a job, whose results belong into `folder`, needs its stages.

    With its results there, only if their content is read or a model that was evicted is wanted.
    """
    if os.environ.get(index.VERIFYING) or not results.is_complete(folder):
        return True
    store = Store(Path(comparison.runtime["store"]))
    return evict.is_missed(comparison.tasks, store, comparison.runtime)


def _noted(
    jobs: Sequence[Sequence[str]],
    planned: Mapping[tuple[str, ...], Comparison],
    store: Store,
) -> Record:
    """The record of what there is to do, after saying what has changed since it last was."""
    record = Record.of(jobs, store)
    for line in record.differences(planned):
        log.warning("since this command last ran: %s", line)
    record.write(planned, sweep.part() if len(jobs) == 1 else None)
    return record
