"""Means, differences and claims of any rows as sheets, for every format."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from diffshortcut.errors import UserError, listed
from diffshortcut.report.matrix import ranks
from diffshortcut.report.sheet import Sheet, interval, number, significance
from diffshortcut.statistics import deviation, holm
from diffshortcut.statistics.comparison import (
    PRIMARY,
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
    unlike,
)
from diffshortcut.statistics.row_files import FIELDS

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
CLAIMS = ["claim", "metric", "hardest rival", "largest p", "Holm", "least p", "people", "star"]


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
    for name in (*claims, *([against] if against else ())):
        _check(name, arms, "arm")
    for name in metrics or ():
        _check(name, known, "metric")
    chosen = list(metrics or _headline(groups))
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


def cautions(
    rows: Sequence[Row],
    metrics: Sequence[str] | None = None,
    against: str | None = None,
    claims: Sequence[str] = (),
) -> list[str]:
    """What `tables` of the same does not compare like with like, in sentences.

    A pair of arms that was measured on other images, and columns that may tell arms apart.
    """
    groups = grouped(rows)
    arms = list(dict.fromkeys(arm for arm, _ in groups))
    base = against or arms[0]
    pairs = [(arm, base) for arm in arms if arm != base]
    pairs += [(arm, rival) for arm in claims for rival in arms if rival not in (arm, base)]
    known = metrics or _headline(groups)
    found = [(pair, _other_images(groups, known, *pair)) for pair in dict.fromkeys(pairs)]
    told = [f"{arm} and {other} ({n} people)" for (arm, other), n in found if n]
    said = (
        "Measured on other images (prompt, sample), so that the images may make the difference, and"
        f" no star is given: {'; '.join(told)}."
    )
    return [*([said] if told else ()), *_mixed(rows)]


def _other_images(groups: "Groups", metrics: Sequence[str], arm: str, against: str) -> int:
    """How many people of two arms were measured on other images, in any of the metrics."""
    people = (
        unlike([*groups.get((arm, m), ()), *groups.get((against, m), ())], m, arm, against)
        for m in metrics
    )
    return len(set().union(*people))


def _mixed(rows: Sequence[Row]) -> list[str]:
    """A sentence on columns of texts that are not read and vary within an arm's person."""
    values: dict[tuple[str, str, str], set[str]] = {}
    for row in rows:
        for name in row.keys() - set(FIELDS):
            if isinstance(row[name], str):
                values.setdefault((name, row["arm"], row["person"]), set()).add(row[name])
    mixed = {name: arm for (name, arm, _), found in values.items() if len(found) > 1}
    if not mixed:
        return []
    names = " and ".join(sorted(mixed))
    first, arm = min(mixed.items())
    return [
        f"Not read: {names}, of which {arm} holds several for one person. What tells arms apart"
        f" belongs into their names: --columns arm={first}+arm."
    ]


Groups = dict[tuple[str, str], list[Row]]


def _headline(groups: Groups) -> list[str]:
    """The metrics that are shown unless others are asked for."""
    known = list(dict.fromkeys(metric for _, metric in groups))
    return [metric for metric in PRIMARY if metric in known] or known


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
