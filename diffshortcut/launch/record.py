"""What a grid is about, in its own folder of the store: for its resumption and for others' eyes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from diffshortcut.artifacts import keys
from diffshortcut.artifacts.store import Store
from diffshortcut.config import config
from diffshortcut.disk import replacing, user_errors
from diffshortcut.graph.cells import Failure, Task
from diffshortcut.job.results import Comparison

GRID = "grid.json"
FAILURES = "failures.json"
SHOWN = 20  # differences that are said one by one

Planned = Mapping[tuple[str, ...], Comparison]


@dataclass(frozen=True)
class Record:
    """The folder of a grid; the same command has the same."""

    folder: Path

    @classmethod
    def of(cls, jobs: Sequence[Sequence[str]], store: Store) -> "Record":
        """Of the jobs of a command."""
        return cls(store.root / "grids" / keys.digest([list(job) for job in jobs])[:12])

    @cached_property
    def content(self) -> dict[str, Any]:
        """What was written when the command last ran; empty if it never has."""
        return _read(self.folder / GRID) or {}

    @property
    def logs(self) -> Path:
        """Where it is said how stages went, a file per stage."""
        return self.folder / "logs"

    def log(self, task: Task) -> Path:
        """A task's file there."""
        return (self.logs / f"{task.stage}-{task.key[:8]}.log").absolute()

    @property
    def failures(self) -> dict[str, dict[str, str]]:
        """What could not be done: stage key -> title, reason, log."""
        return _read(self.folder / FAILURES) or {}

    def write(self, planned: Planned, part_of: Mapping[str, Any] | None = None) -> None:
        """Note what there is to do, beside the jobs that are finished; failures are forgotten.

        `part_of`: name and number of jobs of the sweep that this is one job of.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        jobs, places, tasks = self._finished(planned)
        here = dict(_places(planned))
        told = {task.key: {"stage": task.stage, "config": task.config} for task in here.values()}
        _write(
            self.folder / GRID,
            {
                "jobs": [*jobs, *(list(job) for job in planned)],
                "places": places | {place: task.key for place, task in here.items()},
                "tasks": tasks | told,
                "sweep": part_of,
            },
        )
        _write(self.folder / FAILURES, {})

    def _finished(self, planned: Planned) -> tuple[list[Any], dict[str, str], dict[str, Any]]:
        """Jobs, places and tasks that the command noted before and that are not to do now.

        The same jobs have the same folder, so what is not planned is finished, not given up.
        """
        try:
            jobs = [job for job in self.content["jobs"] if tuple(job) not in planned]
            kept = set(map(tuple, jobs))
            noted = self.content["places"].items()
            places = {place: key for place, key in noted if _job(place) in kept}
            return jobs, places, {key: self.content["tasks"][key] for key in places.values()}
        except (KeyError, TypeError, AttributeError, ValueError):  # none, or of another version
            return [], {}, {}

    def write_workers(self, count: int) -> None:
        """Note how many work at once."""
        _write(self.folder / GRID, {**(_read(self.folder / GRID) or {}), "workers": count})

    def write_failures(self, failures: Sequence[Failure]) -> None:
        """Note what could not be done."""
        told = {
            failure.task.key: {
                "title": failure.task.title,
                "reason": failure.reason,
                "log": str(failure.log or ""),
            }
            for failure in failures
        }
        _write(self.folder / FAILURES, told)

    def differences(self, planned: Planned) -> list[str]:
        """What has changed since the command last ran, in words."""
        places, tasks = self.content.get("places", {}), self.content.get("tasks", {})
        now = dict(_places(planned))
        shared = [place for place in now if place in places and now[place].key != places[place]]
        found: dict[str, None] = {}
        for place in shared:
            old, new = tasks[places[place]]["config"], now[place].config
            found |= dict.fromkeys(f"{now[place].stage}: {line}" for line in _changed(old, new))
        lines = list(found)
        if shared and not lines:
            stages = ", ".join(dict.fromkeys(now[place].stage for place in shared))
            lines = [f"source, weights or pictures of {stages}"]
        if len(lines) > SHOWN:
            lines = [*lines[:SHOWN], f"and {len(lines) - SHOWN} more"]
        return lines


class Failures:
    """What could not be done so far, by stage key; noted in a record many at a time.

    All that reads a stage fails with it at once, and each note is a file written through.
    """

    def __init__(self, record: Record) -> None:
        self.by_key: dict[str, Failure] = {}
        self._record = record
        self._written = 0

    def add(self, failure: Failure) -> None:
        """Note it at the next `write`."""
        self.by_key[failure.task.key] = failure

    def write(self) -> None:
        """Write what is new, for `grid status`."""
        if len(self.by_key) > self._written:
            self._record.write_failures(list(self.by_key.values()))
            self._written = len(self.by_key)


def failure_line(title: str, reason: str, log: object = None) -> str:
    """A failure as it is said, and noted (`Record.failures`): which stage, why, where more is."""
    return f"not done: {title}: {reason}" + (f" ({log})" if log else "")


def _places(planned: Planned) -> Iterator[tuple[str, Task]]:
    """Each task with where it stands: job, arm, person and name of the stage."""
    for job, comparison in planned.items():
        for arm, person, cell in comparison:
            for name, task in cell.items():
                yield json.dumps([*job, arm, person, name]), task


def _job(place: str) -> tuple[str, ...]:
    return tuple(json.loads(place)[:-3])


def _changed(old: Any, new: Any) -> Iterator[str]:
    before, after = dict(config.leaves(old)), dict(config.leaves(new))
    for name in sorted(before.keys() | after.keys()):
        if keys.is_neutral(name) or before.get(name) == after.get(name):
            continue
        yield f"{name}: {before.get(name, 'not there')} -> {after.get(name, 'not there')}"


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None


def _write(file: Path, content: Any) -> None:
    store = file.parents[2]
    with user_errors(store), replacing(file) as aside:  # two runs of a command have one folder
        aside.write_text(json.dumps(content, allow_nan=False))
