"""The main job of one person, before and after: composed of what was measured, not run whole.

Times of a step, a round, a picture, times the numbers that `attack=metacloak purifier=ours` has in
the mini zoo, with the arms `clean` and `protected` beside it.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from diffshortcut.bench.book import read
from diffshortcut.bench.parts import methods, sampling, training
from diffshortcut.bench.parts.start import MAIN
from diffshortcut.bench.records import Figure, Job, Pair, Record
from diffshortcut.config import arms
from diffshortcut.errors import UserError

PART = "main"
GOAL = 2.0
NEEDED = ("attacks", "purifiers", "training", "sampling")
Seconds = tuple[float, float]  # published, ours


class Measured:
    """The records of the other parts, by name."""

    def __init__(self, folder: Path) -> None:
        found = {part: read(folder / f"{part}.jsonl") for part in NEEDED}
        jobs = [some for book in found.values() if book for some in book[1].values()]
        self.records: dict[str, Record] = {}
        for record in (one for some in jobs for one in some):
            self.records.setdefault(record.name, record)

    def pair(self, name: str) -> Seconds:
        """Seconds of a turn."""
        record = self._named(name)
        assert isinstance(record, Pair)
        return record.seconds(0), record.seconds(1)

    def figure(self, start: str) -> float:
        """The number whose name begins so."""
        name = next((name for name in self.records if name.startswith(start)), start)
        record = self._named(name)
        assert isinstance(record, Figure)
        return record.value

    def _named(self, name: str) -> Record:
        if name not in self.records:
            raise UserError(f"main: '{name}' is not measured yet: --only {' '.join(NEEDED)} main")
        return self.records[name]


def jobs(folder: Path) -> dict[str, Job]:
    """The only one."""
    return {PART: partial(composed, folder)}


def composed(folder: Path) -> Sequence[Record]:
    """A row per stage, and their sum."""
    stages = parts(Measured(folder))
    return [
        *(_row(name, taken) for name, taken in stages.items()),
        _row("the main job for one person", total(stages.values()), GOAL),
    ]


def parts(measured: Measured) -> dict[str, Seconds]:
    """Seconds of each stage of all arms."""
    listed = arms.compose([*MAIN, "logger=none"])
    count, own = len(listed), listed[-1].config
    attack, prior = own["attack"], own["prior"]["images"]
    rounds = attack["trails"] * attack["snapshots"] * attack["rounds"]
    steps = sum(arm.config["trainer"]["steps"] for arm in listed)
    once = (0.0, measured.figure(training.ENCODED))  # ours encodes before it trains
    check = (0.0, measured.figure(methods.CHECK))  # and looks at what it has protected
    per_class_picture = scaled(measured.pair(sampling.CLASSES), 1 / sampling.CLASS_IMAGES)
    surrogate = scaled(measured.pair(training.SURROGATE), attack["surrogate_steps"])
    ascent = scaled(measured.pair(methods.METACLOAK), rounds)
    steps_of_all = scaled(measured.pair(training.STEP), steps)
    return {
        f"class pictures: {prior}": scaled(per_class_picture, prior),
        f"metacloak: {attack['surrogate_steps']} steps, {rounds} rounds": total(
            [once, surrogate, ascent, check]
        ),
        "codeformer, sr": total([measured.pair("codeformer"), measured.pair(methods.WHOLE)]),
        f"training: {count} arms, {steps} steps": total([scaled(once, count), steps_of_all]),
        f"sampling + metrics: {count} arms": scaled(measured.pair(sampling.BOTH), count),
    }


def scaled(one: Seconds, factor: float) -> Seconds:
    """So many times as long."""
    return one[0] * factor, one[1] * factor


def total(some: Iterable[Seconds]) -> Seconds:
    """One after the other."""
    theirs, ours = zip(*some, strict=True)
    return sum(theirs), sum(ours)


def _row(name: str, taken: Seconds, goal: float | None = None) -> Pair:
    return Pair(part=PART, name=name, beside="composed, not run", wall=[taken], goal=goal)
