"""A published loop beside ours: counted, weighed, and timed in turn."""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from diffshortcut.bench.counts import Counts
from diffshortcut.bench.measured import Measured, Times, counted, in_turn, timed
from diffshortcut.bench.records import Pair
from diffshortcut.cost.ledger import Ledger


@dataclass(frozen=True)
class Effort:
    """How long to measure: at least `pairs` pairs, and until `seconds` of the processor are up.

    Growth is measured `rounds` times.
    """

    pairs: int = 5
    seconds: float = 5
    rounds: int = 3


@dataclass(frozen=True)
class Side:
    """What is run, and what a turn of it computes and takes."""

    run: Callable[[], object]
    count: Callable[[], Counts]
    time: Callable[[], Times]

    @classmethod
    def whole(cls, run: Callable[[], object]) -> "Side":
        """All of a run is one turn."""
        return cls(run, partial(counted, run), partial(timed, run))

    @classmethod
    def steps(cls, step: Callable[[], object], turns: int) -> "Side":
        """A run is a step, and some of them are timed at once."""

        def several() -> Times:
            total = timed(lambda: [step() for _ in range(turns)])
            return Times(total.wall / turns, total.processor / turns)

        return cls(step, partial(counted, step), several)


def compare(
    part: str,
    name: str,
    theirs: Side,
    ours: Side,
    effort: Effort,
    *,
    weighed: Sequence[Callable[[], object]] = (),
    **more: Any,
) -> list[Pair]:
    """Count and weigh each, which also warms up, then time in turn.

    `weighed` are shorter runs of both that hold as much.
    """
    counts = (theirs.count(), ours.count())
    memory = [most(run) for run in weighed or (theirs.run, ours.run)]
    times = in_turn(theirs.time, ours.time, effort.seconds, effort.pairs)
    return [Pair.of(part, Measured(name, counts, times), memory=memory, **more)]


def most(run: Callable[[], object]) -> int:
    """Bytes of the tensors that a run makes, at most: beside those that are there before."""
    gc.collect()
    ledger = Ledger("cpu")
    ledger.call(_there(), "weights")
    before = ledger.book.total
    with ledger:
        run()
    return ledger.book.most - before


def _there() -> Iterator[Tensor]:
    for held in gc.get_objects():
        if issubclass(type(held), Tensor) and held.device.type == "cpu":
            yield held
