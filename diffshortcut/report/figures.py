"""Figures of a report, drawn with matplotlib: for papers (PDF, SVG) and for the page (themed SVG).

Colors are Okabe and Ito's, which the color-blind can tell apart; lines differ by marker as well.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffshortcut.report.labels import shown_defense
from diffshortcut.report.lettering import SHORTEST, SOFT, columns, extent, folded, label
from diffshortcut.report.matrix import Lines, Matrix, Point
from diffshortcut.report.sheet import number, titled
from diffshortcut.statistics import Estimate

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f6f5f", "#333399")
MARKERS = "osD^vPX"  # not as many as colors, so that pairs repeat late
INK = "#1b1f23"
SIZE = (4.2, 3.1)  # inches
TILE = (0.75, 0.42)  # inches of a heat-map's cell
SLANT = 35  # degrees of the names below a heat-map
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 11,
    "text.parse_math": False,  # an arm may be called $x$
    "svg.fonttype": "none",
    "svg.hashsalt": "diffshortcut",
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
}
UNDATED: dict[str, dict[str, Any]] = {  # metadata that would differ between equal figures
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}
Draw = Callable[[Any], None]  # onto a matplotlib figure


def curve(attack: str, metric: str, better: str | None, lines: Lines) -> Draw:
    """A metric over the radius, a line per defense, bars where there are intervals."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for turn, (name, points) in enumerate(lines.items()):
            color, marker = COLORS[turn % len(COLORS)], MARKERS[turn % len(MARKERS)]
            xs, ys = [p.x for p in points], [p.estimate.value for p in points]
            label = folded(shown_defense(name))
            axes.plot(xs, ys, label=label, color=color, marker=marker, linewidth=1.6)
            _bars(axes, points, color)
        axes.set(title=attack, xlabel="radius, 8-bit levels", ylabel=titled(metric, better))
        axes.set_xticks(sorted({p.x for points in lines.values() for p in points}))
        figure.legend(loc="outside lower center", ncols=columns(lines, SIZE[0]))

    return draw


def scatter(attack: str, metric: str, better: str | None, points: Sequence[Point]) -> Draw:
    """A metric over the seconds that a defense takes, each point beside its name."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.set_xscale("log")
        _bars(axes, points, COLORS[0])
        seconds = [max(point.x, SHORTEST) for point in points]
        axes.plot(seconds, [p.estimate.value for p in points], "o", color=COLORS[0], markersize=6)
        axes.set_xlim(min(seconds) / 2, max(seconds) * 8)  # room for the names
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axes.xaxis.set_minor_formatter(lambda x, _: "")
        axes.margins(y=0.15)
        axes.set(title=attack, ylabel=titled(metric, better))
        axes.set_xlabel("purification, seconds per person")
        label(figure, axes, points)

    return draw


def bars(axis: str, arms: Mapping[str, Mapping[str, Estimate]]) -> Draw:
    """A group of bars per arm, a bar per name in it, lines where there are intervals."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        names = list(dict.fromkeys(name for of in arms.values() for name in of))
        width = 0.8 / len(names)
        for turn, name in enumerate(names):
            color, shift = COLORS[turn % len(COLORS)], (turn - (len(names) - 1) / 2) * width
            found = [(n + shift, of[name]) for n, of in enumerate(arms.values()) if name in of]
            values = [estimate.value for _, estimate in found]
            axes.barh([at for at, _ in found], values, width * 0.9, color=color, label=name)
            for at, estimate in found:
                if estimate.low is not None:
                    axes.plot((estimate.low, estimate.high), (at, at), color=INK, linewidth=1)
        axes.axvline(0, color=SOFT, linewidth=0.8)
        axes.set_yticks(range(len(arms)), map(folded, arms))
        axes.invert_yaxis()
        axes.set_xlabel(axis)
        figure.legend(loc="outside lower center", ncols=2)

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
            text = number(cell.value, 2) + "*" * cell.star
            axes.text(x, y, text, ha="center", va="center", weight=weight, fontsize=9)
        defenses, attacks = map(folded, matrix.defenses), map(folded, matrix.attacks)
        slanted: Any = {"rotation": SLANT, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(matrix.defenses)), defenses, **slanted)
        axes.set_yticks(range(len(matrix.attacks)), attacks)
        axes.set_title(titled(matrix.metric, matrix.better))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return draw


def heatmap_size(matrix: Matrix) -> tuple[float, float]:
    """Inches that a heat-map needs: its cells, and its names around them."""
    beside = max(extent(name)[0] for name in matrix.attacks)
    names = [extent(name) for name in matrix.defenses]
    slant = math.radians(SLANT)
    below = max(w * math.sin(slant) + h * math.cos(slant) for w, h in names)
    first = names[0][0] * math.cos(slant) - TILE[0] / 2  # sticks out to the left
    width = max(beside, first) + TILE[0] * len(matrix.defenses)
    return width + 0.5, below + TILE[1] * len(matrix.attacks) + 0.6


def save(
    draw: Draw,
    name: str,
    folder: Path,
    size: tuple[float, float] = SIZE,
    kinds: Iterable[str] = ("pdf", "svg"),
) -> None:
    """Write `name`.pdf and `name`.svg, or other kinds; the same bytes for the same figure."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        _write(draw, size, folder / f"{name}.{kind}", format=kind, metadata=UNDATED[kind])


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


def _bars(axes: Any, points: Iterable[Point], color: str) -> None:
    for point in points:
        if point.estimate.low is not None:
            ends = (point.estimate.low, point.estimate.high)
            axes.plot((max(point.x, SHORTEST),) * 2, ends, color=color, linewidth=1, alpha=0.6)


def _tile(x: int, y: int, shade: float) -> Any:
    from matplotlib.patches import Rectangle

    paper, full = (255, 255, 255), (110, 168, 212)
    mixed = [(a + (b - a) * shade) / 255 for a, b in zip(paper, full, strict=True)]
    return Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=mixed, edgecolor="none")
