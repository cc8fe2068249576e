"""The attack x defense matrix of a metric, what its cells hold, and the series behind figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from diffshortcut import links
from diffshortcut.report import measures
from diffshortcut.report.labels import CLEAN, undefended
from diffshortcut.report.loaded import Entry, Results
from diffshortcut.report.purification import STAGE
from diffshortcut.statistics import Estimate, deviation, mean
from diffshortcut.statistics.comparison import direction

BEST, SECOND = 1, 2


@dataclass(frozen=True)
class Cell:
    """An arm's mean over people with its interval and standard deviation.

    `rank`: 1 for the best defense of the attack, 2 for the runner-up, else 0. `shade` in [0, 1] is
    0 for the worst and 1 for the best mean of the matrix.
    """

    entry: Entry
    estimate: Estimate
    deviation: float | None
    rank: int
    shade: float
    star: bool

    @property
    def value(self) -> float:
        """The mean."""
        assert self.estimate.value is not None  # only a ratio has none
        return self.estimate.value


@dataclass(frozen=True)
class Matrix:
    """A metric over attacks (rows) and defenses (columns); what was not measured is absent.

    `unranked` are attacks whose defenses were measured on different people: none is called best.
    """

    metric: str
    better: str | None
    attacks: list[str]
    defenses: list[str]
    cells: dict[tuple[str, str], Cell]
    unranked: list[str]

    def remark(self) -> str:
        """Which attacks have no best defense marked, in a sentence; empty if all have."""
        if not self.unranked:
            return ""
        named = ", ".join(self.unranked)
        return f"No best defense is marked where not all were measured on the same people: {named}."


Means = Mapping[tuple[str, str], Mapping[str, float]]  # (arm, metric) -> person -> mean


def matrices(results: Results, means: Means) -> list[Matrix]:
    """One per metric that was measured and is shown (measures.py)."""
    shown = measures.shown(metric for _, metric in means)
    return [_matrix(results, means, metric) for metric in shown]


def _matrix(results: Results, means: Means, metric: str) -> Matrix:
    better = direction(results.rows, metric)
    entries = [e for e in results.entries if (e.name, metric) in means]
    found = {e.name: list(means[e.name, metric].values()) for e in entries}
    estimates = {name: _mean(tuple(values)) for name, values in found.items()}
    rivals = _rivals(entries) if _sign(better) else {}
    alike = {
        a: len({frozenset(means[n, metric]) for n in names}) == 1 for a, names in rivals.items()
    }
    values = {name: estimate.value or 0.0 for name, estimate in estimates.items()}
    against = [{n: values[n] for n in names} for a, names in rivals.items() if alike[a]]
    ranked = {name: rank for of in against for name, rank in ranks(of, better).items()}
    shades = _shades(estimates, better)
    cells = {
        (e.place.attack, e.place.defense): Cell(
            entry=e,
            estimate=estimates[e.name],
            deviation=deviation(found[e.name]),
            rank=ranked.get(e.name, 0),
            shade=shades[e.name],
            star=metric in e.stars,
        )
        for e in entries
    }
    unranked = [attack for attack in rivals if not alike[attack]]
    return Matrix(metric, better, _attacks(entries), _defenses(entries), cells, unranked)


@cache
def _mean(values: tuple[float, ...]) -> Estimate:
    """Bootstrapped once, whoever shows it."""
    return mean(values)


def _attacks(entries: Sequence[Entry]) -> list[str]:
    """Clean first, then as they come, those of one attack by radius."""
    bases = list(dict.fromkeys(e.place.attack.partition(",")[0] for e in entries))

    def order(entry: Entry) -> tuple[bool, int, float]:
        base = entry.place.attack.partition(",")[0]
        return entry.place.attack != CLEAN, bases.index(base), entry.place.radius or 0.0

    return list(dict.fromkeys(e.place.attack for e in sorted(entries, key=order)))


def _defenses(entries: Sequence[Entry]) -> list[str]:
    names = dict.fromkeys(e.place.defense for e in entries)
    return sorted(names, key=lambda name: not undefended(name))


def _sign(better: str | None) -> int:
    return {"higher": 1, "lower": -1}.get(better or "", 0)


def _rivals(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """The defended arms of each attack that has several."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        if entry.place.attack != CLEAN and not undefended(entry.place.defense):
            found.setdefault(entry.place.attack, []).append(entry.name)
    return {attack: names for attack, names in found.items() if len(names) > 1}


def ranks(values: Mapping[str, float], better: str | None) -> dict[str, int]:
    """Who is best (1) and second (2) of those that stand against each other, unless all are equal.

    Nobody is, if neither direction is better.
    """
    signed = {name: _sign(better) * value for name, value in values.items()}
    levels = sorted(set(signed.values()), reverse=True)[:SECOND]
    if len(levels) < SECOND:
        return {}
    return {name: levels.index(v) + 1 for name, v in signed.items() if v in levels}


def _shades(estimates: Mapping[str, Estimate], better: str | None) -> dict[str, float]:
    values = {name: (_sign(better) or 1) * (e.value or 0.0) for name, e in estimates.items()}
    low, high = min(values.values()), max(values.values())
    span = high - low
    return {name: (value - low) / span if span else 0.5 for name, value in values.items()}


@dataclass(frozen=True)
class Point:
    """A mean with its interval at an x: a radius in 8-bit levels, or seconds."""

    x: float
    estimate: Estimate
    label: str = ""


Lines = dict[str, list[Point]]


def curves(results: Results, means: Means, metric: str) -> dict[str, Lines]:
    """Attack -> defense -> points over the radius, of defenses that were run at several radii.

    Attacks that differ in more than the radius have lines of their own.
    """
    found: dict[str, Lines] = {}
    for entry in results.entries:
        people, radius = means.get((entry.name, metric)), entry.place.radius
        if people and radius is not None and entry.place.attack != CLEAN:
            lines = found.setdefault(entry.place.curve, {})
            point = Point(radius, _mean(tuple(people.values())))
            lines.setdefault(entry.place.defense, []).append(point)
    several = {
        attack: {
            defense: sorted(points, key=lambda p: p.x)
            for defense, points in lines.items()
            if len({point.x for point in points}) > 1
        }
        for attack, lines in found.items()
    }
    return {attack: lines for attack, lines in several.items() if lines}


def costs(results: Results, means: Means, metric: str) -> dict[str, list[Point]]:
    """Attack -> its defended arms: seconds of purification per person, and the metric."""
    found: dict[str, list[Point]] = {}
    for entry in results.entries:
        people, seconds = means.get((entry.name, metric)), _seconds(means, entry.name)
        if people and seconds is not None:
            point = Point(seconds, _mean(tuple(people.values())), entry.place.defense)
            found.setdefault(entry.place.attack, []).append(point)
    return found


def _seconds(means: Means, arm: str) -> float | None:
    """Of an arm's purification alone, its links added; None if it purifies nothing.

    Old rows of a link have only its stage's wall time, loading included.
    """
    spent: dict[str, float] = {}
    for kind in (STAGE, links.SECONDS):  # the latter in place of the former
        for (name, metric), people in means.items():
            if name == arm and metric.startswith(kind):
                spent[metric.removeprefix(kind)] = fmean(people.values())
    return sum(spent.values()) if spent else None


def members(results: Results, means: Means, family: str) -> dict[str, dict[str, Estimate]]:
    """Arm -> member of a family of metrics -> mean, of the arms that have any."""
    found = [m for m in measures.shown(m for _, m in means) if measures.family(m) == family]
    return by_arm(results, means, {metric: measures.member(metric) for metric in found})


def by_arm(
    results: Results, means: Means, metrics: Mapping[str, str]
) -> dict[str, dict[str, Estimate]]:
    """Arm -> what each of `metrics` is called -> mean, of the arms that have any."""
    found = {
        entry.name: {
            called: _mean(tuple(means[entry.name, metric].values()))
            for metric, called in metrics.items()
            if (entry.name, metric) in means
        }
        for entry in results.entries
    }
    return {arm: of for arm, of in found.items() if of}
