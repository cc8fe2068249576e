"""The names in a figure: folded, the room that they take, and places for them beside points."""

from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import Any

from diffshortcut.report.matrix import Point

WIDE, LINES = 26, 3  # letters of a line of a name, and how many lines it has at most
INCHES = 0.085  # of a letter of the figures' size
DOT, LETTER = 4, 9  # points: half a mark, a name's letters
Box = tuple[float, float, float, float]  # left, bottom, right, top, in points
SOFT = "#9aa3ab"
SHORTEST = 1e-3  # seconds that a logarithmic axis shows


def folded(name: str) -> str:
    """The name in lines that a figure has room for; what is longer than these is cut."""
    return fill(name, WIDE, max_lines=LINES, placeholder=" ...")


def extent(name: str) -> tuple[float, float]:
    """Width and height of a folded name, in inches."""
    lines = folded(name).split("\n")
    return INCHES * max(map(len, lines)), 2 * INCHES * len(lines)


def columns(names: Iterable[str], width: float) -> int:
    """How many names of a legend stand side by side, beside their marks."""
    widest = max(extent(name)[0] for name in names) + 0.5
    return max(1, min(3, int(width / widest)))


def label(figure: Any, axes: Any, points: Sequence[Point]) -> None:
    """Names beside their points, at the nearest place that covers no point and no other name."""
    figure.draw_without_rendering()  # settles where the axes are
    at = axes.transData.transform([(max(p.x, SHORTEST), p.estimate.value or 0.0) for p in points])
    dots = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in at * (72 / figure.dpi)]
    left = axes.bbox.x0 * 72 / figure.dpi
    right = figure.bbox.x1 * 72 / figure.dpi
    taken = [*dots, (-1e9, -1e9, left, 1e9), (right, -1e9, 1e9, 1e9)]  # nothing beside the axes
    for point, dot in sorted(zip(points, dots, strict=True), key=lambda pair: pair[1][1]):
        center = ((dot[0] + dot[2]) / 2, (dot[1] + dot[3]) / 2)
        name = folded(point.label)
        place = min(_free(center, name, taken), key=lambda box: _far(box, center))
        taken.append(place)
        offset = (place[0] - center[0], place[1] - center[1])
        bent = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.6, "shrinkB": 3}
        axes.annotate(
            name,
            (max(point.x, SHORTEST), point.estimate.value),
            offset,
            textcoords="offset points",
            fontsize=LETTER,
            arrowprops=bent if _far(place, center) > LETTER * 1.6 else None,
        )


def _free(center: tuple[float, float], text: str, taken: Sequence[Box]) -> list[Box]:
    """Places for a text around a point that touch nothing; the first one if there is none."""
    lines = text.split("\n")
    width, height = max(map(len, lines)) * LETTER * 0.6, len(lines) * LETTER * 1.25
    around = [
        (center[0] + x, center[1] + y - height / 2)
        for y in range(-60, 61, 6)
        for x in (DOT + 3, -width - DOT - 3, -width / 2)
    ]
    boxes = [(x, y, x + width, y + height) for x, y in around]
    free = [box for box in boxes if not any(_touch(box, other) for other in taken)]
    return free or boxes[:1]


def _touch(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _far(box: Box, center: tuple[float, float]) -> float:
    """The distance of a box from a point; to the right is a little nearer than to the left."""
    across = max(box[0] - center[0], center[0] - box[2] + 2, 0)
    along = max(box[1] - center[1], center[1] - box[3], 0)
    return (across**2 + (1.5 * along) ** 2) ** 0.5
