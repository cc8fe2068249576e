"""What purification does to the pictures and what it costs (the paper's Table 2)."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from diffshortcut.comparison import Row
from diffshortcut.report.facts import Facts
from diffshortcut.report.sheet import Sheet, number

COLUMNS = {
    "perceptual_purified": "perceptual distance to clean",
    "perceptual_moved": "to protected",
    "psnr_purified": "PSNR",
    "ssim_purified": "SSIM",
    "identity_purified": "identity kept",
}
SECONDS = "seconds.purify."


def sheet(facts: Facts) -> Sheet:
    """A line per purified arm that has a measure of faithfulness; links of a chain are added."""
    per_image = seconds(facts.rows)
    rows = [
        [arm, *(number(facts.mean(arm, metric)) for metric in COLUMNS), f"{per_image[arm]:.1f}"]
        for arm in facts.arms
        if arm in per_image and facts.mean(arm, "perceptual_purified") is not None
    ]
    return Sheet("Purification", ["arm", *COLUMNS.values(), "seconds an image"], rows)


def seconds(rows: Sequence[Row]) -> Mapping[str, float]:
    """Of each purified arm: the mean over people of seconds per picture."""
    spent: dict[tuple[str, str], float] = {}
    pictures: dict[tuple[str, str], int] = {}
    for row in rows:
        who = (row["arm"], row["person"])
        if row["metric"].startswith(SECONDS):
            spent[who] = spent.get(who, 0.0) + row["value"]
        elif row["metric"] == "psnr_purified":
            pictures[who] = pictures.get(who, 0) + 1
    of_arm: dict[str, list[float]] = {}
    for who, total in spent.items():
        of_arm.setdefault(who[0], []).append(total / pictures.get(who, 1))
    return {arm: fmean(values) for arm, values in of_arm.items()}
