"""Tables of a comparison, as markdown and for the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from diffshortcut.comparison import STAR, Comparison
from diffshortcut.report.facts import PRIMARY, Facts
from diffshortcut.statistics import MIN_PEOPLE, Estimate

TITLES = {
    "ims": "IMS",
    "q": "Q",
    "overall": "overall",
    "liqe": "LIQE",
    "clip_iqac": "CLIP-IQAC",
    "no_face": "no face",
    "perceptual_protected": "perceptual, protected",
    "perceptual_purified": "perceptual, purified",
    "identity_purified": "identity kept",
}
VERSIONS = ("clean", "protected", "random")  # of the images, in stages/protect.py
ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


@dataclass(frozen=True)
class Sheet:
    """A table of text cells under a title."""

    title: str
    header: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """As a markdown section."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"## {self.title}\n\n{body}\n"

    def rich(self) -> Table:
        """For a console."""
        table = Table(title=self.title, title_justify="left")
        for number, name in enumerate(self.header):
            table.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table


def sheets(facts: Facts) -> list[Sheet]:
    """The means per arm; differences to the baselines and shares won back where there are any."""
    found = [_means(facts), _differences(facts), _recoveries(facts), _objectives(facts)]
    return [sheet for sheet in found if sheet.rows]


def _means(facts: Facts) -> Sheet:
    header = ["arm", "people", *(_title(metric, facts) for metric in facts.metrics)]
    rows = [
        [arm, str(facts.people(arm)), *(_mean(facts, arm, m) for m in facts.metrics)]
        for arm in facts.arms
    ]
    return Sheet("Mean per arm", header, rows)


def _mean(facts: Facts, arm: str, metric: str) -> str:
    value = facts.mean(arm, metric)
    return "-" if value is None else f"{value:.3f}{'*' * facts.starred(arm, metric)}"


def _title(metric: str, facts: Facts) -> str:
    return TITLES.get(metric, metric) + ARROWS[facts.better(metric)]


def _differences(facts: Facts) -> Sheet:
    header = ["arm - baseline", "metric", "difference", "effect", "p, people", "p, images"]
    primary = [found for found in facts.comparisons if found.metric in PRIMARY]
    return Sheet("Differences", header, [_difference(found) for found in primary])


def _difference(found: Comparison) -> list[str]:
    test, images, people = found.person_test, found.image_test, found.difference.people
    return [
        f"{found.arm} - {found.against}",
        TITLES.get(found.metric, found.metric),
        interval(found.difference, sign="+"),
        f"{test.effect:+.2f}" if people > 1 else "-",
        f"{test.p_value:.2g}" if people >= MIN_PEOPLE else "-",
        f"{images.p_value:.2g} (n {images.n})" if images else "-",
    ]


def _recoveries(facts: Facts) -> Sheet:
    rows = [
        [arm, *(interval(found.get(metric)) for metric in PRIMARY)]
        for arm, found in facts.recoveries.items()
    ]
    title = "Share won back: (arm - protected) / (clean - protected)"
    return Sheet(title, ["arm", *(TITLES[metric] for metric in PRIMARY)], rows)


def _objectives(facts: Facts) -> Sheet:
    """What each attack did to the objective that it raises; defended arms share its line."""
    undefended = [arm for arm in facts.arms if facts.baselines.protected.get(arm) == arm]
    rows = [
        [arm, *(_mean(facts, arm, f"objective.{version}") for version in VERSIONS)]
        for arm in undefended
        if facts.mean(arm, "objective.protected") is not None
    ]
    title = "The attack's own objective, at the models it starts from, on held-out draws"
    return Sheet(title, ["attack", "clean", "protected", "random noise of equal radius"], rows)


def interval(found: Estimate | None, sign: str = "") -> str:
    """`0.41 [0.30, 0.52]`, or the point alone, or - if there is none."""
    if found is None or found.value is None:
        return "-"
    point = f"{found.value:{sign}.3f}"
    if found.low is None:
        return point
    return f"{point} [{found.low:{sign}.3f}, {found.high:{sign}.3f}]"


def notes(facts: Facts) -> list[str]:
    """What the figures are: unit, intervals, tests and stars, in sentences."""
    people = max((facts.people(arm) for arm in facts.arms), default=0)
    lines = [
        f"The unit is the person ({people} here): a figure is the mean over people of each person's"
        " mean over images. An image without a face has IMS 0 and is counted under no face."
    ]
    if any(found.difference.low is not None for found in facts.comparisons):
        lines.append(
            "Intervals: 95 % bootstrap over people; a share has one only where that of"
            " clean - protected lies above 0. p, people: Wilcoxon signed-rank, two-sided, zeros"
            " dropped, not corrected for the number of comparisons. Effect: rank-biserial."
        )
    else:
        lines.append(f"Fewer than {MIN_PEOPLE} people: points only, no interval, no star.")
    lines.append(
        "p, images: the paper's image-level Wilcoxon test. Images of one trained model are not"
        " independent, so it overstates the evidence and earns no star."
    )
    return [*lines, _about_stars(facts)]


def _about_stars(facts: Facts) -> str:
    if facts.claims and not facts.verdicts:
        return "What the declared claims (compare.claims) name was not measured: no star is given."
    if not facts.verdicts:
        return "No claim was declared (compare.claims), so no star is given."
    return (
        f"A star means better than every rival: the largest one-sided p over the rivals, Holm over"
        f" all declared claims ({len(facts.verdicts)}), adjusted p <= {STAR}, at least"
        f" {MIN_PEOPLE} people."
    )


def markdown(tables: Sequence[Sheet], remarks: Sequence[str]) -> str:
    """The whole table.md."""
    listed = "\n".join(f"* {remark}" for remark in remarks)
    return "\n".join(["# Results\n", *(sheet.markdown() for sheet in tables), listed, ""])
