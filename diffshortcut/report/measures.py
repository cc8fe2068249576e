"""Which of the measured metrics a report shows: the headline ones, and families with a figure."""

import re
from collections.abc import Iterable

from diffshortcut.statistics.comparison import PRIMARY

HEADLINE = (*PRIMARY, "liqe", "clip_iqac", "no_face", "perceptual_purified")
FAMILIES = {  # of metrics called family.member: what is shown of them
    "mismatch": "Person or noise? CLIP's p(noise) of the pictures themselves (Figure 2)",
    "shortcut_noise": "What prompts have come to mean: p(noise) of their pictures, personalized -"
    " base model (Figures 1 and 3)",
    "shortcut_high_frequency": "What prompts have come to mean: high frequencies of their pictures,"
    " personalized - base model (Figure 1)",
}
MEMBER = re.compile(rf"({'|'.join(FAMILIES)})\.([\w+-]+)", re.ASCII)  # also names a file


def shown(measured: Iterable[str]) -> list[str]:
    """The headline metrics first, then each family's members, in the order of the rows."""
    found = list(dict.fromkeys(measured))
    members = [metric for name in FAMILIES for metric in found if family(metric) == name]
    return [*(metric for metric in HEADLINE if metric in found), *members]


def family(metric: str) -> str | None:
    """The family that a metric belongs to, if any."""
    found = MEMBER.fullmatch(metric)
    return found[1] if found else None


def member(metric: str) -> str:
    """What the metric is called within its family: clean, identifier+token ..."""
    return metric.partition(".")[2]
