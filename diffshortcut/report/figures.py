"""Figures of a report, drawn with matplotlib: for papers (PDF, SVG) and for the page (themed SVG).

Colors are Okabe and Ito's, which the color-blind can tell apart; lines differ by marker as well.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffshortcut.report.matrix import Lines, Matrix, Point
from diffshortcut.report.sheet import ARROWS, TITLES

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f6f5f", "#333399")
MARKERS = "osD^vPX*"
INK, SOFT = "#1b1f23", "#9aa3ab"
SIZE = (4.2, 3.1)  # inches
STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "diffshortcut",
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
Draw = Callable[[Any], None]  # onto a matplotlib figure


def curve(attack: str, metric: str, better: str | None, lines: Lines, order: Sequence[str]) -> Draw:
    """A metric over the radius, a line per defense, bars where there are intervals."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for name, points in lines.items():
            number = order.index(name) % len(COLORS)
            style = {"color": COLORS[number], "marker": MARKERS[number], "markersize": 5}
            xs, ys = [p.x for p in points], [p.estimate.value for p in points]
            axes.plot(xs, ys, label=name, linewidth=1.6, **style)
            _bars(axes, points, COLORS[number])
        axes.set(title=attack, xlabel="radius, 8-bit levels", ylabel=_axis(metric, better))
        axes.set_xticks(sorted({p.x for points in lines.values() for p in points}))
        figure.legend(loc="outside lower center", ncols=min(len(lines), 3))

    return draw


def scatter(
    attack: str, metric: str, better: str | None, points: Sequence[Point], order: Sequence[str]
) -> Draw:
    """A metric over the seconds that a defense takes, each point under its name."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.set_xscale("log")
        for point in points:
            number = order.index(point.label) % len(COLORS)
            _bars(axes, [point], COLORS[number])
            place = (max(point.x, 1e-3), point.estimate.value)
            axes.plot(*place, MARKERS[number], color=COLORS[number], markersize=7)
        axes.margins(x=0.25, y=0.12)
        axes.set(
            title=attack, xlabel="purification, seconds per person", ylabel=_axis(metric, better)
        )
        _label(figure, axes, points)

    return draw


def heatmap(matrix: Matrix) -> Draw:
    """The matrix as a picture for papers; the page has it as a table."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.set_xlim(-0.5, len(matrix.defenses) - 0.5)
        axes.set_ylim(len(matrix.attacks) - 0.5, -0.5)
        for (attack, defense), cell in matrix.cells.items():
            x, y = matrix.defenses.index(defense), matrix.attacks.index(attack)
            axes.add_patch(_tile(x, y, cell.shade))
            weight = "bold" if cell.rank == 1 else "normal"
            text = f"{cell.value:.2f}" + "*" * cell.star
            axes.text(x, y, text, ha="center", va="center", weight=weight, fontsize=9)
        axes.set_xticks(range(len(matrix.defenses)), matrix.defenses, rotation=35, ha="right")
        axes.set_yticks(range(len(matrix.attacks)), matrix.attacks)
        axes.set_title(_axis(matrix.metric, matrix.better))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return draw


def save(draw: Draw, name: str, folder: Path, size: tuple[float, float] = SIZE) -> None:
    """Write `name`.pdf and `name`.svg, the same bytes for the same figure."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, undated in (("pdf", {"CreationDate": None}), ("svg", {"Date": None})):
        _write(draw, size, folder / f"{name}.{kind}", format=kind, metadata=undated)


def inline(draw: Draw, name: str, size: tuple[float, float] = SIZE) -> str:
    """The figure as an SVG element: colors follow the page's theme, ids start with `name`."""
    text = io.StringIO()
    _write(draw, size, text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)  # the viewBox remains
    themed = {INK: "var(--ink)", SOFT: "var(--soft)"}
    themed |= {color: f"var(--series-{n})" for n, color in enumerate(COLORS)}
    for color, variable in themed.items():
        svg = svg.replace(color, variable)
    return svg


def _write(draw: Draw, size: tuple[float, float], target: Any, **how: Any) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(target, **how)


def _axis(metric: str, better: str | None) -> str:
    return TITLES.get(metric, metric) + ARROWS[better]


def _bars(axes: Any, points: Iterable[Point], color: str) -> None:
    for point in points:
        if point.estimate.low is not None:
            ends = (point.estimate.low, point.estimate.high)
            axes.plot((max(point.x, 1e-3),) * 2, ends, color=color, linewidth=1, alpha=0.6)


def _tile(x: int, y: int, shade: float) -> Any:
    from matplotlib.patches import Rectangle

    paper, full = (255, 255, 255), (110, 168, 212)
    mixed = [(a + (b - a) * shade) / 255 for a, b in zip(paper, full, strict=True)]
    return Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=mixed, edgecolor="none")


def _label(figure: Any, axes: Any, points: Sequence[Point]) -> None:
    """Names beside their points, moved up until none covers another."""
    low, high = axes.get_ylim()
    line = (high - low) * 0.075
    last = -float("inf")
    for point in sorted(points, key=lambda p: p.estimate.value or 0.0):
        value = point.estimate.value or 0.0
        last = max(value, last + line)
        x = max(point.x, 1e-3)
        bent = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.6} if last > value else None
        axes.annotate(
            point.label,
            (x, value),
            (8, (last - value) / (high - low) * figure.get_figheight() * 72 * 0.7),
            textcoords="offset points",
            va="center",
            fontsize=9,
            arrowprops=bent,
        )


def series(found: Mapping[str, Lines]) -> Iterator[str]:
    """The names of all lines, in their order."""
    yield from dict.fromkeys(name for lines in found.values() for name in lines)
