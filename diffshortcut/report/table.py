"""The tables of a comparison."""

from collections.abc import Sequence

from diffshortcut.report import flagged, measures, published, purification, visibility
from diffshortcut.report.facts import Facts
from diffshortcut.report.sheet import ARROWS, Sheet, as_markdown, interval, number, titled
from diffshortcut.statistics import MIN_PEOPLE
from diffshortcut.statistics.comparison import PRIMARY, Compared

VERSIONS = ("clean", "protected", "random")  # of the images, in stages/protect.py


def sheets(facts: Facts) -> list[Sheet]:
    """The means per arm, and every other table that has something to say."""
    found = [
        _means(facts),
        *_families(facts),
        _differences(facts),
        _recoveries(facts),
        _objectives(facts),
    ]
    found += [visibility.sheet(facts), purification.sheet(facts), flagged.sheet(facts)]
    found.append(published.sheet(facts))
    return [sheet for sheet in found if sheet.rows]


def _means(facts: Facts) -> Sheet:
    headline = [metric for metric in facts.metrics if not measures.family(metric)]
    titles = [titled(metric, facts.better(metric)) for metric in headline]
    rows = [
        [arm, str(facts.people(arm)), *(_mean(facts, arm, m) for m in headline)]
        + [", ".join(facts.knows.get(arm, ())) or "-"]
        for arm in facts.arms
    ]
    return Sheet("Mean per arm", ["arm", "people", *titles, "attack knows"], rows)


def _mean(facts: Facts, arm: str, metric: str) -> str:
    return number(facts.mean(arm, metric)) + "*" * facts.starred(arm, metric)


def _families(facts: Facts) -> list[Sheet]:
    """A table per family of metrics, a column per member; without rows if it was not measured."""
    found = []
    for family, title in measures.FAMILIES.items():
        metrics = [metric for metric in facts.metrics if measures.family(metric) == family]
        header = [measures.member(m) + ARROWS[facts.better(m)] for m in metrics]
        cells = {arm: [_interval(facts, arm, m) for m in metrics] for arm in facts.arms}
        rows = [[arm, *line] for arm, line in cells.items() if set(line) - {"-"}]
        found.append(Sheet(title, ["arm", *header], rows))
    return found


def _interval(facts: Facts, arm: str, metric: str) -> str:
    return interval(facts.estimate(arm, metric)) + "*" * facts.starred(arm, metric)


def _differences(facts: Facts) -> Sheet:
    tests = ["p, people", "p, Holm", "p, images"]
    header = ["arm - baseline", "metric", "difference", "effect", *tests]
    primary = [found for found in facts.comparisons if found.metric in PRIMARY]
    return Sheet("Differences", header, [_difference(found, facts) for found in primary])


def _difference(found: Compared, facts: Facts) -> list[str]:
    test, images, people = found.person_test, found.image_test, found.difference.people
    fair = facts.is_fair(found.arm, found.against)
    tested = fair and people >= MIN_PEOPLE
    p = facts.adjusted.get((found.arm, found.against, found.metric))
    return [
        f"{found.arm} - {found.against}",
        titled(found.metric),
        interval(found.difference, sign="+"),
        f"{test.effect:+.2f}" if people > 1 else "-",
        f"{test.p_value:.2g}" if tested else "-",
        f"{p:.2g}" if tested and p is not None else "-",
        f"{images.p_value:.2g} (n {images.n})" if fair and images else "-",
    ]


def _recoveries(facts: Facts) -> Sheet:
    measured = [metric for metric in PRIMARY if metric in facts.metrics]
    rows = [
        [arm, protected, *(interval(found.get(metric)) for metric in measured)]
        for (arm, protected), found in facts.recoveries.items()
    ]
    title = "Share won back: (arm - protected) / (clean - protected)"
    return Sheet(title, ["arm", "protected", *(titled(m) for m in measured)], rows)


def _objectives(facts: Facts) -> Sheet:
    """What each attack did to the objective that it raises; defended arms share its line."""
    rows = [
        [arm, *(_mean(facts, arm, f"objective.{version}") for version in VERSIONS)]
        for arm in facts.attacks
        if facts.mean(arm, "objective.protected") is not None
    ]
    title = "The attack's own objective, at the models it starts from, on held-out draws"
    return Sheet(title, ["attack", "clean", "protected", "random noise of equal radius"], rows)


def markdown(tables: Sequence[Sheet], remarks: Sequence[str]) -> str:
    """The whole table.md."""
    listed = "\n".join(f"* {as_markdown(remark)}" for remark in remarks)
    return "\n".join(["# Results\n", *(sheet.markdown() for sheet in tables), listed, ""])
