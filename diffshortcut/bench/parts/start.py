"""How soon a command answers or begins, and what a large grid shares."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from diffshortcut.bench import finished, processes
from diffshortcut.bench.pairs import Effort
from diffshortcut.bench.records import Figure, Growth, Job, Record
from diffshortcut.data.person import Person
from diffshortcut.graph import cells
from diffshortcut.job import command, index

PART = "start"
MAIN = ("attack=metacloak", "purifier=ours")
COUNTS = (1, 7, 77)
ANSWER, FIRST, CELL = 2.0, 1.0, 0.05  # goals in seconds: an answer, above the imports, a cell


def jobs(person: Person, effort: Effort) -> dict[str, Job]:
    """A cached answer, the first stage, cells through the index, a plan of 77 cells."""
    return {
        "cached answer": partial(cached, effort),
        "first stage": partial(first_stage, effort),
        "index": partial(through_the_index, effort),
        "plan": planned,
    }


def cached(effort: Effort) -> Sequence[Record]:
    """The main job, finished, asked again: through the index, and composed and verified anew."""
    with TemporaryDirectory() as root:
        words = finished.words(Path(root), *MAIN)
        finished.finish([words])

        def answers() -> list[float]:
            return [processes.answered(processes.ANSWER, words) for _ in range(effort.pairs)]

        known = answers()
        whole = [processes.seconds(processes.COMMAND, words) for _ in range(effort.pairs)]
        with patch.dict(os.environ, {index.VERIFYING: "1"}):
            verified = answers()
    return [
        _figure("cached answer after compose, no torch imported", known, ANSWER),
        _figure("the same with --verify: three arms composed, artifacts read", verified),
        _figure("the whole process of a cached answer", whole),
    ]


def first_stage(effort: Effort) -> Sequence[Record]:
    """From the start of the process, in turn with one that only imports."""
    bare, first = [], []
    for _ in range(effort.pairs):
        bare.append(processes.seconds(processes.IMPORTS))
        with TemporaryDirectory() as root:
            words = finished.words(Path(root), *MAIN)
            first.append(processes.seconds(processes.FIRST, words))
    above = [ours - imports for ours, imports in zip(first, bare, strict=True)]
    return [
        _figure("import of torch and of diffusers' models", bare),
        _figure("until the first stage runs", first),
        _figure("of this, beside the imports", above, FIRST),
    ]


def through_the_index(effort: Effort) -> Sequence[Record]:
    """Finished cells looked up in a fresh process, which reads config and source for the first."""
    with TemporaryDirectory() as root:
        cells_of_table = finished.table1(Path(root))
        finished.finish(cells_of_table)
        found = {
            count: [
                processes.answered(processes.FIND, cells_of_table[:count])
                for _ in range(effort.pairs)
            ]
            for count in COUNTS
        }
    growth = [_figure("", values).value for values in found.values()]
    least, most = min(COUNTS), max(COUNTS)
    each = [
        (more - one) / (most - least) for one, more in zip(found[least], found[most], strict=True)
    ]
    return [
        _figure("a finished cell through the index, the first of a process", found[least]),
        _figure(f"a finished cell through the index, each further of {most}", each, CELL),
        Growth(part=PART, name="cached answers", axis="cells", at=COUNTS, seconds=growth),
    ]


def planned() -> Sequence[Record]:
    """The cells of Table 1 for a person, planned: nothing is computed."""
    with TemporaryDirectory() as root:
        listed = [
            cell
            for words in finished.table1(Path(root))
            for _, _, cell in command.comparison(words)
        ]
        merged = cells.merge(listed)
    attacks = sum(task.stage == "protect" for task in merged)
    alone = sum(len({task.key for task in cell.values()}) for cell in listed)
    shared = f"{len(listed)} cells alone"
    goal = len(finished.ATTACKS)
    return [
        Figure(
            part=PART,
            name="attack stages per person of a planned grid",
            beside=f"{shared}: {len(listed)}",
            values=[attacks],
            unit="",
            goal=goal,
        ),
        Figure(part=PART, name="cells per attack stage", values=[len(listed) / attacks], unit="x"),
        Figure(
            part=PART,
            name="all stages of the grid",
            beside=f"{shared}: {alone}",
            values=[len(merged)],
            unit="",
        ),
        Figure(
            part=PART,
            name="stages of the cells per stage of the grid",
            values=[alone / len(merged)],
            unit="x",
        ),
    ]


def _figure(name: str, values: Sequence[float], goal: float | None = None) -> Figure:
    return Figure(part=PART, name=name, values=values, goal=goal)
