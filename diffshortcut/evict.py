"""Trained models of gigabytes, kept in the store until all that reads them is done."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from diffshortcut.cells import Task
from diffshortcut.store import Store

GIGABYTE = 1e9
ALL = math.inf  # largest_kept of who removes nothing, and misses nothing that was removed


def limit(runtime: Mapping[str, Any]) -> float:
    """Bytes above which a model is evicted."""
    asked = runtime.get("largest_kept")
    return ALL if asked is None else asked * GIGABYTE


def to_do(
    tasks: Sequence[Task], store: Store, runtime: Mapping[str, Any], *, verify: bool = True
) -> list[Task]:
    """What the store lacks, in the order of `tasks`: what one reads stands before it.

    A model that was evicted is missed by what is to read it, and by a command that keeps all.
    Without `verify` what is there is believed to be whole.
    """
    keeps_all = runtime.get("largest_kept") is None
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
    keeps_all = runtime.get("largest_kept") is None
    return keeps_all and any(store.is_evicted(task.stage, task.key) for task in tasks)


class Readers:
    """Those of some tasks that are still to read a model."""

    def __init__(self, tasks: Sequence[Task], store: Store, runtime: Mapping[str, Any]) -> None:
        self._store, self._limit = store, limit(runtime)
        self._of: dict[str, set[str]] = defaultdict(set)
        for task in tasks:
            for model in _models(task):
                self._of[model.key].add(task.key)

    def done(self, task: Task) -> None:
        """Evict what it was the last to read; what has failed still reads, to be tried again."""
        for model in _models(task):
            self._of[model.key].discard(task.key)
            if not self._of[model.key] and self._size(model) > self._limit:
                self._store.evict(model.stage, model.key)

    def _size(self, model: Task) -> int:
        folder = self._store.path(model.stage, model.key)
        return sum(file.stat().st_size for file in folder.rglob("*"))


def _is_there(task: Task, store: Store, verify: bool) -> bool:
    if verify:
        return store.find(task.stage, task.key) is not None
    return store.path(task.stage, task.key).is_dir()


def _models(task: Task) -> list[Task]:
    """The trained models that a task reads."""
    return [parent for parent in task.inputs.values() if parent.stage == "personalize"]
