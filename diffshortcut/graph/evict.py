"""Trained models of gigabytes, kept in the store until all that reads them is done."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from diffshortcut.artifacts.store import Store
from diffshortcut.config import sweep
from diffshortcut.disk import bytes_in
from diffshortcut.graph.cells import Task

GIGABYTE = 1e9
UNLIMITED = math.inf  # largest_kept of who removes nothing, and misses nothing that was removed


def limit(runtime: Mapping[str, Any]) -> float:
    """Bytes above which a model is evicted."""
    return UNLIMITED if _keeps_all(runtime) else runtime["largest_kept"] * GIGABYTE


def of_a_job(runtime: Mapping[str, Any]) -> dict[str, Any]:
    """The runtime of a job that no graph merges with the others of its sweep.

    They may read its models too, so all of them stay.
    """
    left = sweep.jobs() > 1 and not _keeps_all(runtime)
    return {**runtime, "largest_kept": UNLIMITED} if left else {**runtime}


def to_do(
    tasks: Sequence[Task], store: Store, runtime: Mapping[str, Any], *, verify: bool = True
) -> list[Task]:
    """What the store lacks, in the order of `tasks`: what one reads stands before it.

    A model that was evicted is missed by what is to read it, and by a command that keeps all.
    Without `verify` what is there is believed to be whole.
    """
    keeps_all = _keeps_all(runtime)
    found: list[Task] = []
    read: set[str] = set()
    for task in reversed(tasks):
        missed = keeps_all or task.key in read or not store.is_evicted(task.stage, task.key)
        if missed and not _is_there(task, store, verify):
            found.append(task)
            read |= {parent.key for parent in task.inputs.values()}
    return found[::-1]


def is_missed(tasks: Sequence[Task], store: Store, runtime: Mapping[str, Any]) -> bool:
    """Whether a command that keeps all models finds that one of its own was evicted."""
    return _keeps_all(runtime) and any(store.is_evicted(task.stage, task.key) for task in tasks)


class Readers:
    """Those of some tasks that are still to read a model."""

    def __init__(self, tasks: Sequence[Task], store: Store, runtime: Mapping[str, Any]) -> None:
        self._store, self._runtime = store, runtime
        self._of: dict[str, dict[str, Task]] = defaultdict(dict)
        for task in tasks:
            if task.model:
                self._of[task.model.key][task.key] = task

    def are_done(self, model: Task) -> bool:
        """Whether another command has done them all, and evicted the model, since it was planned.

        False for what is no model.
        """
        if not self._store.is_evicted(model.stage, model.key):
            return False
        wanted = [model, *self._of[model.key].values()]
        return model not in to_do(wanted, self._store, self._runtime, verify=False)

    def done(self, task: Task) -> None:
        """Evict what it was the last to read; what has failed still reads, to be tried again."""
        if model := task.model:
            self._of[model.key].pop(task.key, None)
            if not self._of[model.key] and self._size(model) > limit(self._runtime):
                self._store.evict(model.stage, model.key)

    def _size(self, model: Task) -> int:
        """Bytes; none once another command has evicted it, maybe at this moment."""
        folder = self._store.path(model.stage, model.key)
        with suppress(FileNotFoundError):
            return bytes_in(folder)
        return 0


def _keeps_all(runtime: Mapping[str, Any]) -> bool:
    return runtime.get("largest_kept") is None


def _is_there(task: Task, store: Store, verify: bool) -> bool:
    if verify:
        return store.find(task.stage, task.key) is not None
    return store.path(task.stage, task.key).is_dir()
