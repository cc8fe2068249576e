"""The jobs of a sweep that no graph has merged, seen as one: each has a record of its own."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from diffshortcut import parallel
from diffshortcut.artifacts.store import Store
from diffshortcut.config import sweep
from diffshortcut.config.sweep import Sweep
from diffshortcut.graph.cells import Failure
from diffshortcut.job import index
from diffshortcut.launch.record import FAILURES, GRID, Record, failure_line


@contextmanager
def failures_last(found: Sweep | None) -> Iterator[None]:
    """When a sweep ends, print the failures that its jobs recorded, once each.

    Whatever process a job ran in. The graph's launcher, under which jobs have no records, prints
    its own.
    """
    began = int(time.time())  # file systems may round
    try:
        yield
    finally:
        if found and len(found.jobs) > 1 and parallel.in_charge():
            for line in _failed(found, began):
                print(line, file=sys.stderr)


def _failed(found: Sweep, began: float) -> list[str]:
    """What the jobs have noted since then, each stage once."""
    failures: dict[str, Mapping[str, str]] = {}
    for job in found.jobs:
        record = Record.of([job], Store(index.store(job)))
        if _changed(record) >= began:
            failures |= record.failures
    return [failure_line(**failure) for failure in failures.values()]


def _changed(record: Record) -> float:
    """When its failures were noted; before all time if they never were."""
    try:
        return (record.folder / FAILURES).stat().st_mtime
    except OSError:
        return 0.0


class Undone:
    """What Hydra's jobs of one sweep could not do in this process, which the next try no more.

    A stage may be mended, so it is forgotten with the sweep; jobs that Hydra does not launch as
    those of a sweep have nothing in common.
    """

    def __init__(self) -> None:
        self._sweep: str | None = None
        self._jobs: set[tuple[str, ...]] = set()
        self._failures: dict[str, Failure] = {}

    def known_to(self, job: Sequence[str]) -> dict[str, Failure]:
        """By stage key, for a job that begins; nothing if it has begun before: a new round."""
        name = sweep.name() if _is_of_many() else None
        if name is None or name != self._sweep or tuple(job) in self._jobs:
            self._jobs, self._failures = set(), {}
        self._sweep = name
        self._jobs.add(tuple(job))
        return dict(self._failures)

    def add(self, failures: Sequence[Failure]) -> None:
        """Of the job that began last."""
        if self._sweep:
            self._failures |= {failure.task.key: failure for failure in failures}


def _is_of_many() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def records(one: Record) -> list[Record]:
    """Those of the jobs of the sweep that a record's job is part of; of no sweep it alone."""
    name = _sweep_of(one)
    if not name:
        return [one]
    others = (Record(file.parent) for file in sorted(one.folder.parent.glob(f"*/{GRID}")))
    return [record for record in others if _sweep_of(record) == name]


def _sweep_of(record: Record) -> Any:
    part = record.content.get("sweep")
    return part.get("name") if isinstance(part, dict) else None
