"""The matrices as tables in the paper's style: markdown, LaTeX and CSV.

Attacks are columns and defenses rows (Table 1); a cell is mean ± standard deviation over people,
the best defense of an attack is bold, the runner-up underlined, a star marks a won claim.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

from diffshortcut.report.matrix import BEST, SECOND, Cell, Matrix
from diffshortcut.report.sheet import Sheet, as_csv, as_markdown, as_tex, number, titled
from diffshortcut.statistics import MIN_PEOPLE
from diffshortcut.statistics.comparison import STAR

Mark = Callable[[str, int], str]  # a figure and its rank
LEGEND = (
    "Mean ± standard deviation over {people} (of each person's mean over images). Bold: the best"
    " defense of an attack; underlined: the runner-up; both by the mean alone. *: better than every"
    f" rival of a declared claim, p ≤ {STAR} after Holm's correction over all claims of the joined"
    f" folders and of their sweeps' other jobs, {MIN_PEOPLE} people or more."
)
COLUMNS = ["metric", "attack", "defense", "mean", "deviation", "low", "high", "people", "rank"]
COLUMNS += ["star"]


def write(matrices: Sequence[Matrix], folder: Path) -> list[str]:
    """Write matrix.md, matrix.tex and matrix.csv; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    legend = LEGEND.format(people=_people(matrices)) + _unranked(matrices)
    sections = [sheet(matrix, in_markdown).markdown(escaped=True) for matrix in matrices]
    text = "\n".join([*sections, as_markdown(legend), ""])
    (folder / "matrix.md").write_text(text, encoding="utf-8")
    note = as_tex(legend)
    bodies = [sheet(matrix, in_latex).latex(escaped=True, note=note) for matrix in matrices]
    said = "% packages: booktabs, [normalem]{ulem}\n"
    (folder / "matrix.tex").write_text("\n".join([said, *bodies]), encoding="utf-8")
    with (folder / "matrix.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *(line for m in matrices for line in _lines(m))])
    return ["matrix.md", "matrix.tex", "matrix.csv"]


def sheet(matrix: Matrix, mark: Mark) -> Sheet:
    """A metric's table, with figures marked by rank."""
    escape = as_tex if mark is in_latex else as_markdown
    title = escape(titled(matrix.metric, matrix.better))
    rows = [
        [escape(defense), *(_cell(matrix.cells.get((a, defense)), mark) for a in matrix.attacks)]
        for defense in matrix.defenses
    ]
    return Sheet(title, [escape(name) for name in ("defense", *matrix.attacks)], rows)


def _cell(cell: Cell | None, mark: Mark) -> str:
    if cell is None:
        return "-"
    plus, star = (" ± ", r"\*") if mark is in_markdown else (r"$\pm$", "*")
    spread = "" if cell.deviation is None else f"{plus}{cell.deviation:.2f}"
    figure = number(cell.value, 2)
    shown = as_tex(figure) if mark is in_latex else figure
    return mark(shown, cell.rank) + star * cell.star + spread


def in_markdown(figure: str, rank: int) -> str:
    """The best bold, the runner-up underlined."""
    return {BEST: f"**{figure}**", SECOND: f"<u>{figure}</u>"}.get(rank, figure)


def in_latex(figure: str, rank: int) -> str:
    """The same by textbf, and ulem's uline."""
    marks = {BEST: rf"\textbf{{{figure}}}", SECOND: rf"\uline{{{figure}}}"}
    return marks.get(rank, figure)


def _unranked(matrices: Sequence[Matrix]) -> str:
    return "".join(f" {said}" for said in dict.fromkeys(m.remark() for m in matrices) if said)


def _people(matrices: Sequence[Matrix]) -> str:
    counts = {cell.estimate.people for matrix in matrices for cell in matrix.cells.values()}
    low, high = min(counts), max(counts)
    return f"{low} people" if low == high else f"{low} to {high} people"


def _lines(matrix: Matrix) -> list[list[object]]:
    """Long form: a line per cell, figures unrounded."""
    return [
        [
            as_csv(matrix.metric),
            as_csv(attack),
            as_csv(defense),
            cell.value,
            cell.deviation,
            cell.estimate.low,
        ]
        + [cell.estimate.high, cell.estimate.people, cell.rank or "", "*" * cell.star]
        for (attack, defense), cell in matrix.cells.items()
    ]
