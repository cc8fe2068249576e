"""What purification does to the pictures and what it costs (the paper's Table 2)."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from diffshortcut import links
from diffshortcut.report.facts import Facts
from diffshortcut.report.sheet import Sheet, number
from diffshortcut.statistics.comparison import Row

COLUMNS = {
    "perceptual_purified": "perceptual distance to clean",
    "perceptual_moved": "to protected",
    "psnr_purified": "PSNR",
    "ssim_purified": "SSIM",
    "identity_purified": "identity kept",
}
STAGE = "seconds.purify."  # wall time of a link's stage, loading included: every purified arm's


def sheet(facts: Facts) -> Sheet:
    """A line per purified arm that has a measure of faithfulness; links of a chain are added.

    Seconds are of the purification alone, without loading; what links have noted of their last step
    has a column of its own.
    """
    per_image = seconds(facts.rows)
    purified = {row["arm"] for row in facts.rows if row["metric"].startswith(STAGE)}
    measured = dict.fromkeys(row["metric"] for row in facts.rows)
    noted = [metric for metric in measured if metric.startswith(links.NOTED)]
    rows = [
        [
            arm,
            *(number(facts.mean(arm, metric)) for metric in (*COLUMNS, *noted)),
            number(per_image.get(arm), digits=1),
        ]
        for arm in facts.arms
        if arm in purified and facts.mean(arm, "perceptual_purified") is not None
    ]
    titles = [metric.removeprefix(links.NOTED).replace(".", " ") for metric in noted]
    return Sheet("Purification", ["arm", *COLUMNS.values(), *titles, "seconds an image"], rows)


def seconds(rows: Sequence[Row]) -> Mapping[str, float]:
    """Of each purified arm: the mean over people of seconds per picture, links added."""
    spent: dict[tuple[str, str], float] = {}
    pictures: dict[tuple[str, str], int] = {}
    for row in rows:
        who = (row["arm"], row["person"])
        if row["metric"].startswith(links.SECONDS):
            spent[who] = spent.get(who, 0.0) + row["value"]
        elif row["metric"] == "psnr_purified":
            pictures[who] = pictures.get(who, 0) + 1
    of_arm: dict[str, list[float]] = {}
    for who, total in spent.items():
        of_arm.setdefault(who[0], []).append(total / pictures.get(who, 1))
    return {arm: fmean(values) for arm, values in of_arm.items()}
