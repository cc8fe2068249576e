"""`python -m diffshortcut.bench.attacks`: our attacks beside plain versions of the published loops.

Operations of both are counted, and both are timed in turn, ours, theirs, ours, theirs, of which the
shortest turn counts. A wall ratio below nine tenths of the counted one is time lost.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from rich.console import Console
from torch import Tensor
from transformers.utils import logging as transformers_logging

from diffshortcut.attacks.record import Record
from diffshortcut.attacks.scene import Scene
from diffshortcut.bench import sd_size
from diffshortcut.bench.cases import CASES, Case, person
from diffshortcut.bench.counts import Counts, counting
from diffshortcut.checkpoint import Checkpoint, Variables
from diffshortcut.progress import track
from diffshortcut.report.table import Sheet
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="bench", person="nobody")
LEAST = 0.9  # of the counted ratio, in time

Method = Callable[[Scene, Draws], Tensor]


@dataclass(frozen=True)
class Watched(Checkpoint):
    """Turns of the loop of one name, each inside a context of its own; nothing is kept."""

    loop: str = ""
    around: Callable[[], AbstractContextManager[None]] = nullcontext

    def track(self, steps: range, what: str, variables: Variables) -> Iterator[int]:
        """Yield `steps`."""
        for number in steps:
            with self.around() if what == self.loop else nullcontext():
                yield number


@dataclass(frozen=True)
class Measured:
    """A case with the counts and the shortest seconds of a turn: the published loop's, and ours."""

    name: str
    counts: tuple[Counts, Counts]
    seconds: tuple[float, float]

    @property
    def counted(self) -> float:
        """How many times the operations of ours the published loop needs."""
        return self.counts[0].flops / self.counts[1].flops

    @property
    def wall(self) -> float:
        """How many times our time it takes."""
        return self.seconds[0] / self.seconds[1]

    @property
    def reached(self) -> float:
        """The part of the counted ratio that is there in time."""
        return self.wall / self.counted


def measure(case: Case, attack: Any, scene: Scene, repetitions: int) -> Measured:
    """Count once each, which also warms up, then time in turn."""
    methods: list[Method] = [lambda scene, draws: case.published(attack, scene, draws), attack]
    counts = tuple(count(method, case.loop, scene) for method in methods)
    times: list[list[float]] = [[], []]
    for _ in range(repetitions):
        for method, found in zip(methods, times, strict=True):
            found += seconds(method, case.loop, scene)
    return Measured(case.name, (counts[0], counts[1]), (min(times[0]), min(times[1])))


def count(method: Method, loop: str, scene: Scene, *, operations: bool = True) -> Counts:
    """What a turn computes, the mean of all turns."""
    total, turns = Counts(), []

    @contextmanager
    def around() -> Iterator[None]:
        turns.append(1)
        with counting(total, operations=operations):
            yield

    watch(method, loop, scene, around)
    if not turns:
        raise ValueError(f"the attack has no loop '{loop}'")
    return total.per(len(turns))


def seconds(method: Method, loop: str, scene: Scene) -> list[float]:
    """How long each turn takes."""
    found: list[float] = []

    @contextmanager
    def around() -> Iterator[None]:
        start = time.perf_counter()
        yield
        found.append(time.perf_counter() - start)

    watch(method, loop, scene, around)
    return found


def watch(
    method: Method, loop: str, scene: Scene, around: Callable[[], AbstractContextManager[None]]
) -> Tensor:
    """A whole run, the turns of `loop` inside `around`."""
    checkpoint = Watched(loop=loop, around=around)
    return method(replace(scene, record=Record(), checkpoint=checkpoint), DRAWS)


def sheets(found: list[Measured]) -> list[Sheet]:
    """Time beside operations, and what was counted."""
    times = [
        [
            one.name,
            f"{one.counts[0].flops / 1e9:.1f} / {one.counts[1].flops / 1e9:.1f}",
            f"{one.counted:.2f}",
            f"{one.seconds[0]:.3f} / {one.seconds[1]:.3f}",
            f"{one.wall:.2f}",
            f"{one.reached:.0%}{' <' if one.reached < LEAST else ''}",
        ]
        for one in found
    ]
    header = ["published / ours", "GFLOP", "ratio", "seconds", "ratio", "reached"]
    counts = ["texts", "encoded", "denoised", "denoised_back", "copies"]
    rows = [
        [one.name, *(" / ".join(f"{getattr(c, name):g}" for c in one.counts) for name in counts)]
        for one in found
    ]
    titles = ["prompts", "images encoded", "latents denoised", "backward", "copies"]
    return [
        Sheet("Time and operations of a turn", header, times),
        Sheet("What a turn computes", ["published / ours", *titles], rows),
    ]


def main() -> None:
    """Measure, print, and write a markdown table where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="beginnings of names, such as aspl")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", type=Path, help="a file for the tables")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    cases = [case for case in CASES if case.name.startswith(tuple(asked.only or [""]))]
    scene = person()
    found = [
        measure(case, case.attack(), scene, asked.repetitions) for case in track(cases, "attacks")
    ]
    tables = [*sheets(found), sd_size.sheet()]
    console = Console(width=None if sys.stdout.isatty() else 110)
    for table in tables:
        console.print(table.rich())
    if asked.markdown:
        asked.markdown.write_text("\n".join(table.markdown() for table in tables))


if __name__ == "__main__":
    main()
