"""The one table and the one plot of all that was measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffshortcut.bench.book import described, read
from diffshortcut.bench.records import HEADER, PUBLISHED, Growth, Pair, Record
from diffshortcut.progress import output
from diffshortcut.report import figures, lettering
from diffshortcut.report.sheet import Sheet

SIZE = (17.0, 11.0)  # inches
KEY = """
*theirs / ours* are seconds, medians over the pairs; *figure* is the median ratio (above 1: ours is
faster), a slope of log seconds over log number, or a single number. *counted* is the ratio of
operations, *reached* what the ratio of times is of it (`<`: below 90 %). *MB* is the peak of the
tensors that a run makes, theirs / ours.
"""


def write(folder: Path, parts: Sequence[str]) -> None:
    """Print the table; table.md, bench.svg and bench.png into the folder."""
    found = {part: book for part in parts if (book := read(folder / f"{part}.jsonl"))}
    records = [one for _, jobs in found.values() for some in jobs.values() for one in some]
    if not records:
        return
    table = Sheet("What each stage costs", HEADER, [record.row() for record in records])
    output(160).print(table.rich())
    missed = [record for record in records if record.missed]
    said = [f"* goal missed: {one.part}: {one.name}" for one in missed]
    machines = [f"* {part}: {described(machine)}" for part, (machine, _) in found.items()]
    text = "\n".join([table.markdown(), KEY, *said, "", "Machine, by part:", "", *machines, ""])
    (folder / "table.md").write_text(text)
    figures.save(plot(records), "bench", folder, SIZE, kinds=("svg", "png"))
    print("\n".join([*said, f"{folder}: table.md, bench.svg, bench.png"]))


def plot(records: Sequence[Record]) -> figures.Draw:
    """How many times as fast each is, and a panel per axis along which time grows."""
    pairs = [record for record in records if isinstance(record, Pair)]
    growths: dict[str, list[Growth]] = {}
    for record in records:
        if isinstance(record, Growth):
            growths.setdefault(record.axis, []).append(record)

    def draw(figure: Any) -> None:
        rows = max(1, -(-len(growths) // 2))
        right = [*growths, *["."] * (2 * rows - len(growths))]
        panels = figure.subplot_mosaic(
            [["bars", *right[2 * row : 2 * row + 2]] for row in range(rows)], width_ratios=(3, 2, 2)
        )
        _bars(panels["bars"], pairs)
        for axis, some in growths.items():
            _curves(panels[axis], axis, some)

    return draw


def _bars(axes: Any, pairs: Sequence[Pair]) -> None:
    """Ratios from the top, the counted ones and the goals as marks."""
    blue, red = figures.COLORS[:2]
    places = range(len(pairs))
    colors = [red if pair.missed else blue for pair in pairs]
    axes.barh(places, [pair.ratio for pair in pairs], color=colors, height=0.7)
    _marks(axes, "D", 4, "operations", [pair.counted for pair in pairs])
    _marks(axes, "|", 14, "goal", [pair.goal for pair in pairs])
    axes.axvline(1, color=lettering.SOFT, linewidth=1)
    axes.set_yticks(places, [_label(pair) for pair in pairs], fontsize=7)
    axes.invert_yaxis()
    axes.set(title="times as fast as the published way", xlabel="published / ours, wall time")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right")


def _label(pair: Pair) -> str:
    return pair.name if pair.beside == PUBLISHED else f"{pair.name} ({pair.beside})"


def _marks(axes: Any, marker: str, size: int, label: str, values: Sequence[float | None]) -> None:
    known = {place: value for place, value in enumerate(values) if value}
    if known:
        style = {"marker": marker, "markersize": size, "color": figures.INK, "linestyle": "none"}
        axes.plot(list(known.values()), list(known), label=label, **style)


def _curves(axes: Any, axis: str, growths: Sequence[Growth]) -> None:
    """Seconds over how many, both logarithmic, each with its slope."""
    from matplotlib.ticker import LogLocator

    for turn, growth in enumerate(growths):
        color = figures.COLORS[turn % len(figures.COLORS)]
        marker = figures.MARKERS[turn % len(figures.MARKERS)]
        style = {"color": color, "marker": marker, "markersize": 4, "linewidth": 1}
        axes.plot(growth.at, growth.seconds, label=f"{growth.name}: {growth.slope:.2f}", **style)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", subs=())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.set_xticks(growths[0].at, [f"{x:g}" for x in growths[0].at])
    axes.set_title(f"over {axis}, with slopes", fontsize=10)
    axes.set_ylabel("seconds", fontsize=8)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=7)
