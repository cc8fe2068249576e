"""`python -m diffshortcut.grid status [store]`: how far a grid is, from another shell."""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffshortcut.artifacts.artifact import MARKER
from diffshortcut.artifacts.lease import STALE
from diffshortcut.artifacts.store import Store
from diffshortcut.config import usage
from diffshortcut.cost import forecast
from diffshortcut.errors import UserError, exit_on_mistake
from diffshortcut.launch import together
from diffshortcut.launch.board import sheet
from diffshortcut.launch.record import GRID, Record, failure_line
from diffshortcut.progress import output

USAGE = "python -m diffshortcut.grid status [a store, a grid's folder in it, or outputs]"


@dataclass(frozen=True)
class Recorded:
    """A task as the grid's record tells it."""

    stage: str
    config: dict[str, Any]
    key: str


def main() -> None:
    """Print the state of a grid: the newest in a store or in outputs, by default in ./outputs."""
    words = sys.argv[1:]
    if usage.FOR_HELP & set(words):
        print(f"usage: {USAGE}")
        return
    with exit_on_mistake():
        if words[:1] != ["status"] or len(words) > 2:
            raise UserError(USAGE)
        show(_newest(Path(words[1] if words[1:] else "outputs")))


def show(record: Record) -> None:
    """Print a table of the states, then what failed: of all jobs of a sweep that have begun."""
    store, workers = Store(record.folder.absolute().parents[1]), record.content.get("workers", 1)
    found = together.records(record)
    tasks = _tasks(found)
    failures = {key: failure for one in found for key, failure in one.failures.items()}
    states = {task.key: _state(task, store, failures) for task in tasks}
    ended = sum(state in ("done", "failed") for state in states.values())
    title = f"{record.folder}: {ended} of {len(tasks)} stages ({_jobs(found)})"
    console = output()
    expected = forecast.expected_seconds(tasks, store)
    console.print(sheet(title, tasks, states, expected, workers).rich())
    for key, failure in failures.items():
        if states.get(key) == "failed":  # no later job has made it
            console.print(failure_line(**failure), markup=False)


def _tasks(found: Sequence[Record]) -> list[Recorded]:
    """Of all records, each once; UserError for one that cannot be read."""
    told: dict[str, Any] = {}
    for record in found:
        if not isinstance(record.content.get("tasks"), dict):
            raise UserError(f"{record.folder / GRID}: not as this version writes it")
        told |= record.content["tasks"]
    return [Recorded(task["stage"], task["config"], key) for key, task in told.items()]


def _jobs(found: Sequence[Record]) -> str:
    jobs = len({tuple(job) for record in found for job in record.content["jobs"]})
    whole = found[0].content.get("sweep")
    return f"{jobs} of {whole['jobs']} jobs so far" if whole else f"{jobs} jobs"


def _newest(place: Path) -> Record:
    """The grid of a folder, or the newest of the store that it is or holds."""
    if (place / GRID).is_file():
        return Record(place)
    found = [file for root in (place, place / "store") for file in root.glob(f"grids/*/{GRID}")]
    if not found:
        raise UserError(f"{place}: there is no grid here; {USAGE}")
    return Record(max(found, key=lambda file: file.stat().st_mtime).parent)


def _state(task: Recorded, store: Store, failures: Mapping[str, Any]) -> str:
    if (store.path(task.stage, task.key) / MARKER).is_file():
        return "done"
    if task.key in failures:
        return "failed"
    lease = store.root / "leases" / f"{task.stage}-{task.key}"
    with suppress(OSError):
        if time.time() - lease.stat().st_mtime < STALE:
            return "running"
    return "done" if store.is_evicted(task.stage, task.key) else "waiting"


if __name__ == "__main__":
    main()
