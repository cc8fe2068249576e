"""Compare the arms of any file of rows.

python -m diffshortcut.statistics outputs/RUN/rows.jsonl             every arm beside the first
python -m diffshortcut.statistics A B --against protected            two results, beside that arm
python -m diffshortcut.statistics A --claim aspl+ours --metric q     better than every other arm?
python -m diffshortcut.statistics mine.csv --columns person=subject,arm=method --better score=higher
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffshortcut.errors import exit_on_mistake
from diffshortcut.progress import output
from diffshortcut.report.any_rows import CLAIMS, MEANS, best, cautions, tables
from diffshortcut.report.loaded import as_part, described
from diffshortcut.report.paper import in_latex, in_markdown
from diffshortcut.report.sheet import Sheet, as_markdown, as_tex
from diffshortcut.statistics import MIN_PEOPLE, fewest
from diffshortcut.statistics.comparison import STAR
from diffshortcut.statistics.row_files import Columns, columns_of, pairs_of
from diffshortcut.statistics.rows import Part, directed, join, named, read

MEANS_ARE = "Mean ± standard deviation over people, of each person's mean over images."
MARKS = (
    " Bold: the best arm but {}; underlined: the runner-up; both by the mean alone, and none where"
    " the arms were measured on different people."
)
Best = Mapping[tuple[str, str], int]  # (arm, metric) -> 1 or 2


def main() -> None:
    """Print means, differences and claims of the files' rows."""
    asked = _parser().parse_args()
    with exit_on_mistake():
        places = [Path(place) for place in asked.files]
        columns = columns_of(asked.columns)
        parts = [_part(*each, columns) for each in zip(named(places), places, strict=True)]
        joined, names = join(parts)
        rows = directed(joined, pairs_of(asked.better, "--better"))
        against, *claims = _joined_names(names, [asked.against, *asked.claim])
        sheets = list(tables(rows, asked.metric, against, claims, asked.family))
    base = against or rows[0]["arm"]
    sheets = [sheet for sheet in sheets if sheet.rows]
    said = notes(sheets, asked.family, cautions(rows, asked.metric, against, claims))
    _print(sheets, asked.format, said, best(rows, base), base)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m diffshortcut.statistics",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    files = "JSON lines, .csv, or folders that hold rows.jsonl; joined"
    columns = "what the files call a field: person=subject,arm=attack+method"
    better = "of metrics whose rows do not say it: ims=higher,distance=lower"
    parser.add_argument("files", nargs="+", help=files)
    parser.add_argument("--columns", action="append", default=[], help=columns)
    parser.add_argument("--better", action="append", default=[], help=better)
    parser.add_argument("--metric", action="append", help="default: ims, q, overall, else all")
    parser.add_argument("--against", help="the arm beside which the others are set; default: first")
    parser.add_argument("--claim", action="append", default=[], help="arm: better than all others")
    parser.add_argument("--family", type=int, help="claims declared in all, if more than here")
    formats = ["text", "markdown", "latex", "csv"]
    parser.add_argument("--format", choices=formats, default="text")
    return parser


def _part(title: str, place: Path, columns: Columns) -> Part:
    """A folder's arms are what its record says; those of a file are taken at their word."""
    rows = read(place, columns)
    return as_part(title, rows, described(place).values()) if place.is_dir() else Part(title, rows)


def _joined_names(names: Mapping[tuple[str, str], str], asked: Sequence[Any]) -> list[Any]:
    """What arms of one place are called here, where an equal arm's name came first."""
    joined = set(names.values())
    own = {arm: name for (_, arm), name in names.items()}
    return [name if name in joined else own.get(name, name) for name in asked]


def notes(
    sheets: Sequence[Sheet], family: int | None = None, warned: Sequence[str] = ()
) -> list[str]:
    """What the figures are, in sentences: intervals, tests, claims; then what is `warned` of."""
    claims = max(sum(len(s.rows) for s in sheets if s.header == CLAIMS), family or 1)
    return [
        "The unit is the person; intervals: 95 %, cluster bootstrap over people,"
        f" from {MIN_PEOPLE} people on. Effect: rank-biserial correlation. Holm: over the lines of"
        " a table. Least p: no data of this many people can give a smaller one.",
        "p, images: pairs of images of equal person, prompt and sample. Images of one trained model"
        " are not independent: it overstates the evidence.",
        f"A star needs p ≤ {STAR} after Holm, for which {claims} claim(s) need"
        f" {fewest(STAR, 'greater', claims)} people, and at least {MIN_PEOPLE} people. A claim that"
        " was made after looking at the rows proves nothing.",
        *warned,
    ]


def _legend(sheet: Sheet, said: Sequence[str], base: str) -> str:
    """The notes of one sheet, with all warnings: a paper may take any of them alone."""
    intervals, tests, claims, *warned = said
    if sheet.title == MEANS:
        return " ".join([MEANS_ARE + MARKS.format(base), *warned])
    return " ".join([claims, *warned] if sheet.header == CLAIMS else [intervals, tests, *warned])


def _marked(sheet: Sheet, ranked: Best, kind: str) -> Sheet:
    """The sheet as markdown or LaTeX, escaped, the best and the second mean of a metric marked."""
    escape, mark = (as_tex, in_latex) if kind == "latex" else (as_markdown, in_markdown)

    def cell(row: list[str], name: str, text: str) -> str:
        rank = ranked.get((row[0], name), 0) if sheet.title == MEANS else 0
        mean, space, spread = escape(text).partition(" ")
        return mark(mean, rank) + space + spread if rank else escape(text)

    rows = [
        [cell(row, name, text) for name, text in zip(sheet.header, row, strict=True)]
        for row in sheet.rows
    ]
    return Sheet(escape(sheet.title), list(map(escape, sheet.header)), rows)


def _together(sheets: Sequence[Sheet], said: Sequence[str]) -> Sheet:
    """All sheets under one header; what a line has no value for is empty."""
    sheets = [*sheets, Sheet("Note", ["note"], [[MEANS_ARE], *([note] for note in said)])]
    header = list(dict.fromkeys(name for sheet in sheets for name in sheet.header))
    rows = []
    for sheet in sheets:
        for row in sheet.rows:
            line = dict(zip(sheet.header, row, strict=True))
            rows.append(
                [re.split("[:,]", sheet.title)[0], *(line.get(name, "") for name in header)]
            )
    return Sheet("", ["table", *header], rows)


def _print(
    sheets: Sequence[Sheet], kind: str, said: Sequence[str], ranked: Best, base: str
) -> None:
    if kind == "csv":
        print(_together(sheets, said).csv(), end="")
    elif kind == "text":
        _show(sheets, [MEANS_ARE, *said])
    for sheet in sheets if kind in ("markdown", "latex") else ():
        marked, legend = _marked(sheet, ranked, kind), _legend(sheet, said, base)
        if kind == "latex":
            print(marked.latex(escaped=True, note=as_tex(legend)))
        else:
            print(f"{marked.markdown(escaped=True)}\n{as_markdown(legend)}\n")


def _show(sheets: Sequence[Sheet], said: Sequence[str]) -> None:
    """On the terminal."""
    console = output(150)
    for sheet in sheets:
        console.print(sheet.rich())
    for note in said:
        console.print(note, style="dim", highlight=False)


if __name__ == "__main__":
    main()
