"""The figures of a report: what is drawn, under which name, with which numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from diffshortcut.report import figures, measures
from diffshortcut.report.loaded import Results
from diffshortcut.report.matrix import Means, Point, by_arm, costs, curves, members
from diffshortcut.report.sheet import titled
from diffshortcut.statistics import Estimate
from diffshortcut.statistics.comparison import PRIMARY, direction

Bars = Mapping[str, Mapping[str, Estimate]]  # arm -> name of the bar
MOST = 30  # arms whose bars a page has room for; the matrix shows more
FAITHFUL = "perceptual_purified"  # is measured without a personalized model


@dataclass(frozen=True)
class Figure:
    """A drawing and the numbers in it, as a table; without an `x` the points have names only."""

    name: str
    title: str
    draw: figures.Draw
    x: str
    points: list[tuple[str, Point]]
    size: tuple[float, float] = figures.SIZE

    @property
    def svg(self) -> Markup:
        """For the page; matplotlib has escaped its texts."""
        return Markup(figures.inline(self.draw, self.name, self.size))


def over_radius(results: Results, means: Means) -> Iterator[Figure]:
    """A figure per headline score and attack that was run at several radii."""
    for metric in shown(means):
        better = direction(results.rows, metric)
        for attack, lines in curves(results, means, metric).items():
            yield Figure(
                name=_slug(f"curve-{metric}-{attack}"),
                title=f"{attack}: {titled(metric)} over the radius",
                draw=figures.curve(attack, metric, better, lines),
                x="radius",
                points=[(name, point) for name, of in lines.items() for point in of],
            )


def over_cost(results: Results, means: Means) -> Iterator[Figure]:
    """A figure per attack: the overall score over the seconds of its defenses.

    Without scores of personalized models it is how far the purified pictures are from clean ones.
    """
    measured = {metric for _, metric in means}
    metric = next((m for m in (*reversed(PRIMARY), FAITHFUL) if m in measured), None)
    if metric is None:
        return
    better = direction(results.rows, metric)
    for attack, points in costs(results, means, metric).items():
        yield Figure(
            name=_slug(f"cost-{attack}"),
            title=f"{attack}: {titled(metric)} and the cost of each defense",
            draw=figures.scatter(attack, metric, better, points),
            x="seconds",
            points=[(point.label, point) for point in points],
        )


def of_scores(results: Results, means: Means) -> Iterator[Figure]:
    """Bars of the headline scores of every arm (Figures 6 and 7), if these are 2 to `MOST`."""
    arms = by_arm(results, means, {metric: titled(metric) for metric in shown(means)})
    if 1 < len(arms) <= MOST:
        yield _of_arms("scores", "The headline scores of every arm", "score", arms)


def of_families(results: Results, means: Means) -> Iterator[Figure]:
    """A figure per family of metrics that was measured: bars of every arm and member."""
    for family, title in measures.FAMILIES.items():
        if arms := members(results, means, family):
            yield _of_arms(f"bars-{family}", title, family.replace("_", " "), arms)


def _of_arms(name: str, title: str, axis: str, arms: Bars) -> Figure:
    """Groups of bars, as long as there are many."""
    points = [(f"{arm}, {m}", Point(0.0, e)) for arm, of in arms.items() for m, e in of.items()]
    size = (4.8, 1.8 + 0.14 * len(points) + 0.1 * len(arms))
    return Figure(_slug(name), title, figures.bars(axis, arms), "", points, size)


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def shown(means: Means) -> list[str]:
    """The headline scores that were measured."""
    return [metric for metric in PRIMARY if any(m == metric for _, m in means)]


SECTIONS = {  # of the page
    "scores": of_scores,
    "families": of_families,
    "radius": over_radius,
    "cost": over_cost,
}
