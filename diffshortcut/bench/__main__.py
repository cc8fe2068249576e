"""`python -m diffshortcut.bench`: every stage beside the published way, growth, start, one table.

Each part keeps its results in FOLDER/<part>.jsonl, with a description of the machine, and goes on
where it stopped, as long as the source and the machine are the same. table.md, bench.svg and
bench.png are made of all parts that are there.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from diffshortcut.bench import overview
from diffshortcut.bench.book import Book
from diffshortcut.bench.measured import quiet
from diffshortcut.bench.pairs import Effort
from diffshortcut.bench.parts import growth, main_job, methods, sampling, start, training
from diffshortcut.bench.records import Job
from diffshortcut.data import portraits
from diffshortcut.data.person import Person
from diffshortcut.errors import exit_on_mistake
from diffshortcut.progress import track

FOLDER = Path("outputs/bench")
PARTS: dict[str, Callable[[Person, Effort], dict[str, Job]]] = {
    "attacks": methods.of_attacks,
    "purifiers": methods.of_purifiers,
    "training": training.jobs,
    "sampling": sampling.jobs,
    "growth": growth.jobs,
    "start": start.jobs,
}
MAIN = "main"  # made of the others


def run(part: str, folder: Path, effort: Effort, *, threads: int, anew: bool) -> None:
    """Do the jobs of a part that are not done yet."""
    book = Book(folder / f"{part}.jsonl", threads=threads, anew=anew or part == MAIN)
    [person] = portraits.people(people=1)
    jobs = main_job.jobs(folder) if part == MAIN else PARTS[part](person, effort)
    todo = [name for name in jobs if name not in book.done]
    for name in track(todo, part):
        book.add(name, jobs[name]())


def main() -> None:
    """Measure what is asked for, then print and write the table and the plot."""
    parser = argparse.ArgumentParser(prog="python -m diffshortcut.bench", description=__doc__)
    names = [*PARTS, MAIN]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="PART")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--pairs", type=int, default=5, help="at least, of each comparison")
    parser.add_argument("--seconds", type=float, default=5, help="of processor's time, at least")
    parser.add_argument("--rounds", type=int, default=3, help="of each growth")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--anew", action="store_true", help="keep nothing of an earlier call")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    quiet()
    effort = Effort(asked.pairs, asked.seconds, asked.rounds)
    with exit_on_mistake():
        for part in asked.only:
            run(part, asked.folder, effort, threads=asked.threads, anew=asked.anew)
    overview.write(asked.folder, names)


if __name__ == "__main__":
    main()
