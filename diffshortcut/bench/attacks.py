"""`python -m diffshortcut.bench.attacks`: our attacks beside plain versions of the published loops.

Operations of both are counted, and both are timed in turn, theirs, ours, theirs, ours: a ratio is
the median over these pairs, which a shared machine disturbs least. A ratio of times below nine
tenths of the counted one is time lost. Beside the clock stands the processor's time, which is what
the clock would say if nobody else had the processor.

Operations are no seconds: at the mini zoo's size those of the autoencoder run about one and a half
times as fast as those of the denoiser, so that what saves only the former (Mist) reaches less.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
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
from diffshortcut.report.sheet import Sheet
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
class Times:
    """Seconds of a turn, by the clock and of the processor."""

    wall: float
    processor: float

    @classmethod
    def shortest(cls, found: list["Times"]) -> "Times":
        """Of the turns of a run."""
        return cls(min(one.wall for one in found), min(one.processor for one in found))


@dataclass(frozen=True)
class Measured:
    """What a turn computes and how long it takes, the published loop's and ours, run by run."""

    name: str
    counts: tuple[Counts, Counts]
    times: list[tuple[Times, Times]]

    @property
    def counted(self) -> float:
        """How many times the operations of ours the published loop needs."""
        return self.counts[0].flops / self.counts[1].flops

    @property
    def wall(self) -> float:
        """How many times our time it takes."""
        return median(theirs.wall / ours.wall for theirs, ours in self.times)

    @property
    def processor(self) -> float:
        """How many times our processor's time it takes."""
        return median(theirs.processor / ours.processor for theirs, ours in self.times)

    def seconds(self) -> str:
        """By the clock: theirs / ours."""
        pair = (median(times[side].wall for times in self.times) for side in (0, 1))
        return " / ".join(f"{value:.3f}" for value in pair)


def measure(case: Case, attack: Any, scene: Scene, seconds: float) -> Measured:
    """Count once each, which also warms up, then time in turn, once or until `seconds` are up."""
    theirs: Method = partial(case.published, attack)
    ours: Method = attack
    counts = (count(theirs, case.loop, scene), count(ours, case.loop, scene))
    times: list[tuple[Times, Times]] = []
    start = time.process_time()
    while not times or time.process_time() - start < seconds:
        times.append((timed(theirs, case.loop, scene), timed(ours, case.loop, scene)))
    return Measured(case.name, counts, times)


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


def timed(method: Method, loop: str, scene: Scene) -> Times:
    """How long the shortest turn of a run takes."""
    found: list[Times] = []

    @contextmanager
    def around() -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        found.append(Times(time.perf_counter() - wall, time.process_time() - processor))

    watch(method, loop, scene, around)
    return Times.shortest(found)


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
            one.seconds(),
            f"{one.wall:.2f}",
            _part(one.wall / one.counted),
            f"{one.processor:.2f}",
            _part(one.processor / one.counted),
        ]
        for one in found
    ]
    header = ["published / ours", "GFLOP", "ratio", "seconds", "wall", "reached", "cpu", "reached"]
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


def _part(reached: float) -> str:
    return f"{reached:.0%}{' <' if reached < LEAST else ''}"


def main() -> None:
    """Measure, print, and write a markdown table where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="beginnings of names, such as aspl")
    parser.add_argument("--seconds", type=float, default=15, help="of processor's time per attack")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", type=Path, help="a file for the tables")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    cases = [case for case in CASES if case.name.startswith(tuple(asked.only or [""]))]
    if not cases:
        parser.error(f"--only: there are {', '.join(case.name for case in CASES)}")
    scene = person()
    found = [measure(case, case.attack(), scene, asked.seconds) for case in track(cases, "attacks")]
    tables = [*sheets(found), sd_size.sheet()]
    console = Console(width=None if sys.stdout.isatty() else 110)
    for table in tables:
        console.print(table.rich())
    if asked.markdown:
        asked.markdown.write_text("\n".join(table.markdown() for table in tables))


if __name__ == "__main__":
    main()
