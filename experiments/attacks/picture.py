"""Pictures of what was kept: the differences with their intervals, and what models drew.

python -m experiments.attacks.picture             # differences.png and .svg
python -m experiments.attacks.picture FOLDER ...  # and gallery.png, gallery_more.png, a row each
"""

import json
import sys
from pathlib import Path
from typing import Any

from diffshortcut.data import portraits
from diffshortcut.disk import read_object
from diffshortcut.report import figures, gallery
from diffshortcut.result_files import RECORD, ROWS
from diffshortcut.statistics import Estimate
from experiments.attacks.differences import DEFENSES, Found, differences
from experiments.kept import SHOWN, read_kept

HERE = Path(__file__).parent
COLUMNS = ("original", "protected", "generated")
NAMES = {"": "undefended", "+gaussian": "after a blur", "+jpeg": "after a JPEG"}
LANES = (0.0, 0.24, -0.24)  # of the defenses, beside the middle of an attack's line
GALLERIES, ROWS_EACH = ("gallery", "gallery_more"), 7
LINE = 0.34  # inches of an attack


def main(*folders: str) -> None:
    """Draw both, the second only of results that are there."""
    found = differences(read_kept("attacks"))
    found = dict(sorted(found.items(), key=lambda item: -item[1][""]["overall"].value))
    size = (8.4, 1.2 + LINE * len(found))
    figures.save(plot(found), "differences", HERE, size, kinds=("svg", "png"))
    for turn, name in enumerate(GALLERIES):
        if part := folders[ROWS_EACH * turn :][:ROWS_EACH]:
            gallery.draw(dict(map(row, map(Path, part))), COLUMNS).save(HERE / f"{name}.png")


def plot(found: Found) -> figures.Draw:
    """A panel per score, a line per attack, a mark with its interval per defense."""

    def draw(figure: Any) -> None:
        for axes, score in zip(figure.subplots(1, len(SHOWN), sharey=True), SHOWN, strict=True):
            for defense, lane in zip(DEFENSES, LANES, strict=True):
                line = [of.get(defense, {}).get(score) for of in found.values()]
                if any(line):
                    _marks(axes, defense, lane, line)
            axes.axvline(0, color=figures.SOFT, linewidth=1)
            axes.set(title=SHOWN[score], xlabel="clean - protected")
            axes.set_yticks(range(len(found)), found)
        axes.invert_yaxis()  # one for all that share it
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)

    return draw


def _marks(axes: Any, defense: str, lane: float, line: list[Estimate | None]) -> None:
    turn = DEFENSES.index(defense)
    style = {"color": figures.COLORS[turn], "marker": figures.MARKERS[turn], "markersize": 4}
    there = [(i - lane, e) for i, e in enumerate(line) if e is not None]
    xs, ys = [e.value for _, e in there], [y for y, _ in there]
    axes.plot(xs, ys, linestyle="", label=NAMES[defense], **style)
    for y, estimate in there:
        if estimate.low is not None:
            ends = (estimate.low, estimate.high)
            axes.plot(ends, (y, y), color=style["color"], linewidth=1, alpha=0.6)


def row(folder: Path) -> tuple[str, dict[str, list[Path]]]:
    """The first person of a result's last arm: photos, protected ones, and what its model drew.

    It is called by its attack.
    """
    arm, chosen = list(read_object(folder / RECORD)["choices"].items())[-1]
    rows = map(json.loads, (folder / ROWS).open())
    one = min((r for r in rows if r["arm"] == arm), key=lambda r: r["person"])
    [person] = portraits.people(people=[one["person"]])
    made = {
        column: sorted((folder.parent / "store" / stage / one["keys"][stage] / "images").iterdir())
        for column, stage in {"protected": "protect", "generated": "generate"}.items()
    }
    return chosen["attack"], {"original": list(person.set_B), **made}


if __name__ == "__main__":
    main(*sys.argv[1:])
