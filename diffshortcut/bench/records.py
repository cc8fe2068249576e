"""What `make bench` finds: pairs, growths and single figures, each a row of its one table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, TypeAlias

from diffshortcut.bench.measured import Measured, share

HEADER = ["part", "what", "beside", "theirs / ours", "figure", "goal", "counted", "reached", "MB"]
MISSED = "missed"
PUBLISHED = "published loop"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Seconds of a turn of theirs and of ours, run by run, with what a turn computes and holds.

    `goal` is how many times as fast ours is to be. `memory` is the peak of the tensors that a run
    makes, in bytes. Nothing is counted of what is composed of other measurements.
    """

    part: str
    name: str
    beside: str = PUBLISHED
    wall: Sequence[Sequence[float]]
    processor: Sequence[Sequence[float]] = ()
    counts: Sequence[Mapping[str, float]] = ()
    memory: Sequence[int] = ()
    goal: float | None = None

    @classmethod
    def of(cls, part: str, measured: Measured, **more: Any) -> "Pair":
        """As a record."""
        return cls(
            part=part,
            name=measured.name,
            wall=[(theirs.wall, ours.wall) for theirs, ours in measured.times],
            processor=[(theirs.processor, ours.processor) for theirs, ours in measured.times],
            counts=[asdict(side) for side in measured.counts],
            **more,
        )

    @property
    def ratio(self) -> float:
        """How many times our time theirs is: the median over the pairs."""
        return median(theirs / ours for theirs, ours in self.wall)

    @property
    def counted(self) -> float | None:
        """How many times our operations theirs are."""
        if not self.counts or not self.counts[1]["flops"]:
            return None
        return self.counts[0]["flops"] / self.counts[1]["flops"]

    def seconds(self, side: int) -> float:
        """Of a turn: the median."""
        return median(pair[side] for pair in self.wall)

    @property
    def missed(self) -> bool:
        """Whether the goal is."""
        return self.goal is not None and self.ratio < self.goal

    def row(self) -> list[str]:
        """Under HEADER."""
        goal = "-" if self.goal is None else f">= {self.goal:g}" + f" {MISSED}" * self.missed
        counted, reached = "-", "-"
        if self.counted:
            counted, reached = f"{self.counted:.2f}", share(self.ratio / self.counted)
        memory = " / ".join(f"{size / 1e6:.0f}" for size in self.memory) or "-"
        times = " / ".join(f"{self.seconds(side):.3g}" for side in (0, 1)) + " s"
        figure = f"{self.ratio:.2f} x"
        return [self.part, self.name, self.beside, times, figure, goal, counted, reached, memory]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Seconds of one thing over the number of another."""

    part: str
    name: str
    axis: str
    at: Sequence[float]
    seconds: Sequence[float]

    @property
    def slope(self) -> float:
        """Of log seconds over log number, by least squares: 1 is growth in proportion."""
        import numpy as np

        return float(np.polyfit(np.log(self.at), np.log(self.seconds), 1)[0])

    missed = False

    def row(self) -> list[str]:
        """Under HEADER."""
        points = ", ".join(f"{self.axis}: {x:g}" if x == self.at[0] else f"{x:g}" for x in self.at)
        ends = f"- / {self.seconds[0]:.3g} ... {self.seconds[-1]:.3g} s"
        slope = f"slope {self.slope:.2f}"
        return [self.part, f"{self.name} over {points}", "-", ends, slope, "-", "-", "-", "-"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A single number: the median of some; `goal` is what it is to be at most."""

    part: str
    name: str
    beside: str = "-"
    values: Sequence[float]
    unit: str = "s"
    goal: float | None = None

    @property
    def value(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def missed(self) -> bool:
        """Whether the goal is."""
        return self.goal is not None and self.value > self.goal

    def row(self) -> list[str]:
        """Under HEADER."""
        goal = "-" if self.goal is None else f"<= {self.goal:g}" + f" {MISSED}" * self.missed
        shown = f"{self.value:.3g} {self.unit}".strip()
        return [self.part, self.name, self.beside, "-", shown, goal, "-", "-", "-"]


Record: TypeAlias = Pair | Growth | Figure
Job: TypeAlias = Callable[[], Sequence[Record]]
KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Pair, Growth, Figure)}


def to_plain(record: Record) -> dict[str, Any]:
    """A record as a dict that JSON can hold, with its kind."""
    return {"kind": type(record).__name__, **asdict(record)}


def from_plain(plain: Mapping[str, Any]) -> Record:
    """The record that `to_plain` has made such a dict of."""
    return KINDS[plain["kind"]](**{key: value for key, value in plain.items() if key != "kind"})
