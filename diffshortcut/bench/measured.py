"""A published loop's operations and time beside ours, and the tables of them."""

import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from diffshortcut.bench.counts import Counts, counting
from diffshortcut.report.sheet import Sheet

LEAST = 0.9  # of the counted ratio, in time
COLUMNS = {
    "prompts": "texts",
    "images encoded": "encoded",
    "latents denoised": "denoised",
    "backward": "denoised_back",
    "copies": "copies",
}


@dataclass(frozen=True)
class Times:
    """Seconds of a turn, by the clock and of the processor."""

    wall: float
    processor: float

    @classmethod
    def shortest(cls, found: list["Times"]) -> "Times":
        """Of the turns of a run."""
        return cls(min(one.wall for one in found), min(one.processor for one in found))


@contextmanager
def clocked(into: list[Times]) -> Iterator[None]:
    """Append the time that the block takes."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    into.append(Times(time.perf_counter() - wall, time.process_time() - processor))


def in_turn(
    theirs: Callable[[], Times], ours: Callable[[], Times], seconds: float, pairs: int = 1
) -> list[tuple[Times, Times]]:
    """Both timed one after the other, `pairs` times or until `seconds` of the processor are up."""
    times: list[tuple[Times, Times]] = []
    start = time.process_time()
    while len(times) < pairs or time.process_time() - start < seconds:
        times.append((theirs(), ours()))
    return times


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


def counted(run: Callable[[], object]) -> Counts:
    """What a run computes."""
    counts = Counts()
    with counting(counts):
        run()
    return counts


def timed(run: Callable[[], object]) -> Times:
    """How long a run takes."""
    found: list[Times] = []
    with clocked(found):
        run()
    return found[0]


def sheets(found: list[Measured], columns: Mapping[str, str] = COLUMNS) -> list[Sheet]:
    """Time beside operations, and what was counted: `columns` of Counts by title."""
    times = [
        [
            one.name,
            f"{one.counts[0].flops / 1e9:.1f} / {one.counts[1].flops / 1e9:.1f}",
            f"{one.counted:.2f}",
            one.seconds(),
            f"{one.wall:.2f}",
            share(one.wall / one.counted),
            f"{one.processor:.2f}",
            share(one.processor / one.counted),
        ]
        for one in found
    ]
    header = ["published / ours", "GFLOP", "ratio", "seconds", "wall", "reached", "cpu", "reached"]
    rows = [
        [
            one.name,
            *(" / ".join(f"{getattr(c, name):g}" for c in one.counts) for name in columns.values()),
        ]
        for one in found
    ]
    return [
        Sheet("Time and operations of a turn", header, times),
        Sheet("What a turn computes", ["published / ours", *columns], rows),
    ]


def chosen(
    names: Sequence[str], beginnings: Sequence[str] | None, parser: ArgumentParser
) -> list[str]:
    """Those that begin as asked, None: all; an error of the command line if none does."""
    found = [name for name in names if name.startswith(tuple(beginnings or [""]))]
    if not found:
        parser.error(f"--only: there are {', '.join(names)}")
    return found


def share(reached: float) -> str:
    """What of the counted ratio the time reaches, marked if it is too little."""
    return f"{reached:.0%}{' <' if reached < LEAST else ''}"


def quiet() -> None:
    """No bars and notes of libraries between ours."""
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
