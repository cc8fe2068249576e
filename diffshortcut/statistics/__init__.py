"""Paired tests and intervals: arrays in, small records out. Numpy and scipy only.

`comparison.py` applies them to rows; `python -m diffshortcut.statistics rows.jsonl` prints that.
"""

from diffshortcut.statistics.intervals import (
    Estimate,
    bootstrap,
    deviation,
    mean,
    mean_difference,
    recovered,
)
from diffshortcut.statistics.signed_rank import (
    EXACT_UP_TO,
    MIN_PEOPLE,
    Alternative,
    Wilcoxon,
    fewest,
    holm,
    smallest_p,
    wilcoxon,
)

__all__ = [
    "EXACT_UP_TO",
    "MIN_PEOPLE",
    "Alternative",
    "Estimate",
    "Wilcoxon",
    "bootstrap",
    "deviation",
    "fewest",
    "holm",
    "mean",
    "mean_difference",
    "recovered",
    "smallest_p",
    "wilcoxon",
]
