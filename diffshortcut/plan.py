"""`python -m diffshortcut.plan attack=metacloak purifier=ours`: what would run, what is there.

Takes the arguments of `diffshortcut.run`, of a sweep too, and runs nothing but `crop`. Time, memory
and disk are what like stages of this store took: of the same config for other people, else of one
with as much to do (equal steps, images, rounds, models). A time with a ~ is of stages like which
none has run: their FLOPs by how fast this machine multiplies matrices, right within a factor of a
few; a disk with a ~ is the weights that a training changes.
FLOPs and needed memory are counted without running anything (`cost`), which takes seconds to
minutes: `--quick` leaves them out. `--verify` composes what the index says to be finished.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffshortcut import launch, weights
from diffshortcut.artifacts.store import Store
from diffshortcut.config import catalog, sweep, usage
from diffshortcut.cost import columns, forecast
from diffshortcut.graph import cells, evict
from diffshortcut.job import command, index
from diffshortcut.progress import output, quiet_libraries, track
from diffshortcut.report.sheet import Sheet
from diffshortcut.units import size
from diffshortcut.weights.registry import Entry

QUICK = "--quick"


@dataclass(frozen=True)
class Planned:
    """What a command line is about; without a runtime if all of its jobs are finished."""

    title: str
    lines: list[forecast.Line]
    store: Path
    runtime: Mapping[str, Any]


def main() -> None:
    """Print the plan of a command line."""
    asked = sys.argv[1:]
    if usage.FOR_HELP & set(asked):
        print(__doc__)
        return
    flags = (QUICK, usage.VERIFY)
    words = [word for word in asked if word not in flags]
    cost = QUICK not in asked
    if usage.VERIFY in asked:
        os.environ[index.VERIFYING] = "1"
    quiet_libraries()
    console = output()
    header = forecast.HEADER[: None if cost else -len(columns.HEADER)]
    with usage.one_line(words), weights.unfetched() as absent:
        usage.check_flags(words, [*sorted(sweep.FLAGS), *flags, *sorted(usage.FOR_HELP)])
        words = catalog.adopt(words)
        planned = _planned(words)
        found = forecast.roughly(planned.lines, planned.runtime) if cost else planned.lines
        rows = [line.cells(cost=cost) for line in found]
        console.print(Sheet(planned.title, header, rows).rich())
        for text in _notes(planned, found, absent, cost=cost):
            console.print(text, highlight=False, markup=False, soft_wrap=True)


def _notes(
    planned: Planned, found: list[forecast.Line], absent: Mapping[str, Entry], *, cost: bool
) -> Iterator[str]:
    """What is said below the table; what has to be counted for it comes last."""
    yield forecast.summary(found)
    yield from forecast.crowded(found, planned.store)
    yield from _to_fetch(absent)
    if missing := command.lacking(task for line in found for task in line.to_do.tasks):
        yield missing
    if cost and planned.runtime:
        yield from columns.notes([line.to_do for line in found], planned.runtime["device"])


def _to_fetch(absent: Mapping[str, Entry]) -> list[str]:
    """What has to be fetched before this runs, how large it is, and the command."""
    if not absent:
        return []
    listed = ", ".join(f"{name} ({size(entry.bytes)})" for name, entry in absent.items())
    total, names = size(sum(entry.bytes for entry in absent.values())), " ".join(absent)
    return [
        f"not fetched yet, {total}: {listed}",
        f"first: python -m diffshortcut.weights fetch {names}",
    ]


def _planned(words: Sequence[str]) -> Planned:
    """Of the words of a command line; finished jobs of a sweep are not composed."""
    launch.register()
    usage.refuse_nested_sweeps(words)
    expanded = sweep.expand(words)
    sweep.tell_jobs(expanded)
    jobs = expanded.jobs
    known = [index.find(job) if len(jobs) > 1 else None for job in jobs]
    entries = [entry for entry in known if entry]
    finished = {tuple(stage) for entry in entries for stage in entry.stages}
    todo = [job for job, entry in zip(jobs, known, strict=True) if not entry]
    comparisons = [command.comparison(job) for job in track(todo, "composing")]
    tasks = cells.merge(cell for each in comparisons for _, _, cell in each)
    runtime = comparisons[0].runtime if comparisons else {}
    runtime = runtime if expanded.merged else evict.of_a_job(runtime)
    store = Path(runtime["store"]) if comparisons else index.store(jobs[0])
    title = f"jobs: {len(jobs)} | finished: {len(entries)}"
    if len(jobs) == 1:
        names = ", ".join(arm.name for arm in comparisons[0].arms)
        title = f"arms: {names} | people: {len(comparisons[0].people)}"
    return Planned(title, forecast.lines(tasks, Store(store), runtime, finished), store, runtime)


if __name__ == "__main__":
    main()
