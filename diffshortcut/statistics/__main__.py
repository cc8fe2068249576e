"""Compare the arms of any file of rows.

python -m diffshortcut.statistics outputs/RUN/rows.jsonl             every arm beside the first
python -m diffshortcut.statistics A B --against protected            two results, beside that arm
python -m diffshortcut.statistics A --claim aspl+ours --metric q     better than every other arm?
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from diffshortcut.comparison import (
    PRIMARY,
    STAR,
    Claim,
    Compared,
    Row,
    Verdict,
    against_all,
    compare,
    direction,
    grouped,
    judge,
    person_means,
)
from diffshortcut.errors import UserError, listed, told
from diffshortcut.report.loaded import as_part, described
from diffshortcut.report.matrix import ranks
from diffshortcut.report.paper import in_latex, in_markdown
from diffshortcut.report.sheet import Sheet, as_markdown, as_tex, interval, number, significance
from diffshortcut.rows import Part, join, named, read
from diffshortcut.statistics import MIN_PEOPLE, deviation, fewest, holm

PAIRS = [
    "arm - against",
    "metric",
    "difference",
    "effect",
    "p",
    "Holm",
    "test",
    "least p",
    "images",
]
MEANS = "Mean over people"
MEANS_ARE = "Mean ± standard deviation over people, of each person's mean over images."
MARKS = (
    " Bold: the best arm but {}; underlined: the runner-up; both by the mean alone, and none where"
    " the arms were measured on different people."
)
Best = Mapping[tuple[str, str], int]  # (arm, metric) -> 1 or 2
CLAIMS = ["claim", "metric", "hardest rival", "largest p", "Holm", "least p", "people", "star"]


def main() -> None:
    """Print means, differences and claims of the files' rows."""
    asked = _parser().parse_args()
    with told():
        places = [Path(place) for place in asked.files]
        rows, names = join(_part(*each) for each in zip(named(places), places, strict=True))
        against, *claims = _joined_names(names, [asked.against, *asked.claim])
        sheets = list(tables(rows, asked.metric, against, claims, asked.family))
    base = against or rows[0]["arm"]
    sheets = [sheet for sheet in sheets if sheet.rows]
    _print(sheets, asked.format, notes(sheets, asked.family), best(rows, base), base)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m diffshortcut.statistics",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", help="rows.jsonl, or folders that hold one; joined")
    parser.add_argument("--metric", action="append", help="default: ims, q, overall, else all")
    parser.add_argument("--against", help="the arm beside which the others are set; default: first")
    parser.add_argument("--claim", action="append", default=[], help="arm: better than all others")
    parser.add_argument("--family", type=int, help="claims declared in all, if more than here")
    formats = ["text", "markdown", "latex", "csv"]
    parser.add_argument("--format", choices=formats, default="text")
    return parser


def _part(title: str, place: Path) -> Part:
    """A folder's arms are what its record says; those of a file are taken at their word."""
    rows = read(place)
    return as_part(title, rows, described(place).values()) if place.is_dir() else Part(title, rows)


def _joined_names(names: Mapping[tuple[str, str], str], asked: Sequence[Any]) -> list[Any]:
    """What arms of one place are called here, where an equal arm's name came first."""
    joined = set(names.values())
    own = {arm: name for (_, arm), name in names.items()}
    return [name if name in joined else own.get(name, name) for name in asked]


def tables(
    rows: Sequence[Row],
    metrics: Sequence[str] | None = None,
    against: str | None = None,
    claims: Sequence[str] = (),
    family: int | None = None,
) -> Iterator[Sheet]:
    """Means, differences from `against`, and the claims, of `family` declared in all.

    UserError for an unknown name, or for a family smaller than the claims that are made.
    """
    groups = grouped(rows)
    arms = list(dict.fromkeys(arm for arm, _ in groups))
    known = list(dict.fromkeys(metric for _, metric in groups))
    headline = [metric for metric in PRIMARY if metric in known]
    for name in (*claims, *([against] if against else ())):
        _check(name, arms, "arm")
    for name in metrics or ():
        _check(name, known, "metric")
    chosen = list(metrics or headline or known)
    yield _means(groups, arms, chosen)
    base = against or arms[0]
    pairs = [(m, arm) for arm in arms if arm != base for m in chosen]
    yield _differences([c for m, arm in pairs if (c := _compared(groups, m, arm, base))])
    declared = [against_all(arms, m, arm) for arm in claims for m in chosen if len(arms) > 1]
    _check_family(family, len(set(declared)))
    yield _claims(rows, groups, declared, family or 0)


def _check(name: str, known: Sequence[str], kind: str) -> None:
    if name not in known:
        raise UserError(f"no {kind} is called '{name}'.{listed(name, known)}")


def _check_family(family: int | None, own: int) -> None:
    if family is not None and family < own:
        raise UserError(
            f"--family {family}: {own} claims are made here, so all together are no fewer:"
            f" write --family {own} or more, or leave it out for these alone"
        )


Groups = dict[tuple[str, str], list[Row]]


def _means(groups: Groups, arms: Sequence[str], metrics: Sequence[str]) -> Sheet:
    """Means over people of their means over images, with the standard deviation over people."""
    body = []
    for arm in arms:
        people = {m: person_means(groups.get((arm, m), []), m, arm) for m in metrics}
        counted = len(set().union(*people.values()))
        body.append([arm, str(counted), *(_mean(list(of.values())) for of in people.values())])
    return Sheet(MEANS, ["arm", "people", *metrics], body)


def _mean(people: Sequence[float]) -> str:
    if not people:
        return number(None)
    spread = deviation(people)
    return number(fmean(people)) + (f" ± {number(spread)}" if spread is not None else "")


def best(rows: Sequence[Row], base: str) -> dict[tuple[str, str], int]:
    """Of each metric the best arm (1) and the runner-up (2), `base` left out.

    None of a metric in which the arms were measured on different people.
    """
    groups = grouped(rows)
    found: dict[tuple[str, str], int] = {}
    for metric in dict.fromkeys(metric for _, metric in groups):
        rivals = [arm for arm, m in groups if m == metric and arm != base]
        people = {arm: person_means(groups[arm, metric], metric, arm) for arm in rivals}
        if len({frozenset(of) for of in people.values()}) == 1:
            means = {arm: fmean(of.values()) for arm, of in people.items()}
            ranked = ranks(means, direction(rows, metric))
            found |= {(arm, metric): rank for arm, rank in ranked.items()}
    return found


def _compared(groups: Groups, metric: str, arm: str, against: str) -> Compared | None:
    """None if no person has both."""
    rows = [*groups.get((arm, metric), []), *groups.get((against, metric), [])]
    people = [person_means(rows, metric, name) for name in (arm, against)]
    return compare(rows, metric, arm, against) if people[0].keys() & people[1].keys() else None


def _strangers(groups: Groups, claim: Claim) -> list[str]:
    """The claim's rivals that were measured on none of its arm's people."""

    def people(arm: str) -> set[str]:
        return {row["person"] for row in groups.get((arm, claim.metric), ())}

    return [rival for rival in claim.rivals if people(claim.arm).isdisjoint(people(rival))]


def _differences(found: Sequence[Compared]) -> Sheet:
    tested = {n: c.person_test.p_value for n, c in enumerate(found) if c.difference.people > 1}
    adjusted = holm(tested)
    title = "Paired differences, two-sided Wilcoxon signed-rank tests over people"
    return Sheet(title, PAIRS, [_difference(c, adjusted.get(n)) for n, c in enumerate(found)])


def _difference(found: Compared, adjusted: float | None) -> list[str]:
    test, images = found.person_test, found.image_test
    dropped = f", {test.zeros} zero" if test.zeros else ""
    return [
        f"{found.arm} - {found.against}",
        found.metric,
        interval(found.difference, sign="+"),
        f"{test.effect:+.2f}",
        significance(test.p_value),
        significance(adjusted),
        f"{test.method}, n {test.n}{dropped}",
        significance(test.smallest_p),
        f"{images.p_value:.2g} ({images.method}, n {images.n})" if images else "-",
    ]


def _claims(rows: Sequence[Row], groups: Groups, declared: Sequence[Claim], family: int) -> Sheet:
    """A line per claim; one that cannot be tested says so, and counts in Holm's correction."""
    apart = {claim: found for claim in declared if (found := _strangers(groups, claim))}
    testable = [claim for claim in declared if claim not in apart]
    try:
        verdicts = judge(rows, testable, max(family, len(set(declared))))
    except ValueError as error:
        raise UserError(str(error)) from error
    title = "Claims: better than every other arm (largest one-sided p, Holm over the claims)"
    missed = [
        [c.arm, c.metric, f"left out, nobody in common: {', '.join(who)}", *"---", "0", ""]
        for c, who in apart.items()
    ]
    return Sheet(title, CLAIMS, [*map(_claim, verdicts), *missed])


def _claim(verdict: Verdict) -> list[str]:
    return [
        verdict.claim.arm,
        verdict.claim.metric,
        verdict.hardest,
        significance(verdict.p_value),
        significance(verdict.adjusted),
        significance(verdict.tests[verdict.hardest].smallest_p),
        str(verdict.people),
        "*" if verdict.star else "",
    ]


def notes(sheets: Sequence[Sheet], family: int | None = None) -> list[str]:
    """What the figures are, in sentences: of the means, of the differences, of the claims."""
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
    ]


def _legend(sheet: Sheet, said: Sequence[str], base: str) -> str:
    """The notes of one sheet: a paper may take any of them alone."""
    if sheet.title == MEANS:
        return MEANS_ARE + MARKS.format(base)
    return said[2] if sheet.header == CLAIMS else " ".join(said[:2])


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
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 150)
    for sheet in sheets:
        console.print(sheet.rich())
    for note in said:
        console.print(note, style="dim", highlight=False)


if __name__ == "__main__":
    main()
