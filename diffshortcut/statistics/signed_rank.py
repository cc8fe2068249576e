"""Wilcoxon's signed-rank test of paired differences, what it can reach, and Holm's correction."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Alternative = Literal["two-sided", "greater", "less"]
Floats = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)

MIN_PEOPLE = 8  # below, the exact two-sided test cannot reach p = 0.01
EXACT_UP_TO = 50
ROUNDING = 1e-12  # of the largest magnitude: what differs by less is equal


@dataclass(frozen=True)
class Wilcoxon:
    """A signed-rank test of paired differences against a median of 0.

    `n` differences were ranked; `zeros` more were 0 and dropped (Wilcoxon's rule). `effect`
    is the matched-pairs rank-biserial correlation (W+ - W-) / (W+ + W-) in [-1, 1]; `smallest_p`
    is the p-value if all n differences had the favoured sign: no data of this size can beat it.
    """

    p_value: float
    positive_ranks: float
    n: int
    zeros: int
    alternative: Alternative
    method: Literal["exact", "normal approximation"]
    smallest_p: float
    effect: float


def wilcoxon(
    differences: ArrayLike, alternative: Alternative = "two-sided", *, scale: float = 0.0
) -> Wilcoxon:
    """Wilcoxon's test of paired differences (n,); exact, ties included, up to n = 50.

    "greater" asks whether the differences lie above 0. `scale` is the largest magnitude of what
    was subtracted: subtraction leaves rounding errors of that size, by which 3/12 - 2/12 and
    2/12 - 1/12 would be no tie. ValueError if a difference is not finite, or for another
    alternative.
    """
    if alternative not in get_args(Alternative):
        raise ValueError(f"{alternative!r} is none of {', '.join(get_args(Alternative))}")
    values = finite(differences)
    levels = _levels(np.abs(values), ROUNDING * max(scale, float(np.abs(values).max())))
    ranked = (np.sign(values) * levels)[levels > 0]
    n, ranks = len(ranked), stats.rankdata(np.abs(ranked))
    positive, total = float(ranks[ranked > 0].sum()), n * (n + 1) / 2
    exact = n <= EXACT_UP_TO
    p = _exact_p(ranks, positive, alternative) if exact else _normal_p(ranked, alternative)
    return Wilcoxon(
        p_value=p,
        positive_ranks=positive,
        n=n,
        zeros=len(values) - n,
        alternative=alternative,
        method="exact" if exact else "normal approximation",
        smallest_p=smallest_p(n, alternative),
        effect=(2 * positive - total) / total if n else 0.0,
    )


def _levels(magnitudes: Floats, rounding: float) -> Floats:
    """The magnitudes in order: 0, 1, 2 ... without what rounding adds, and 0 for those that are 0.

    A neighbour in the order that is no further than `rounding` is equal.
    """
    order = np.argsort(magnitudes)
    levels = np.empty(len(magnitudes))
    levels[order] = np.cumsum(np.diff(magnitudes[order], prepend=0.0) > rounding)
    return levels


def smallest_p(n: int, alternative: Alternative = "two-sided") -> float:
    """The p-value of n differences that all have the favoured sign; no data of n can beat it."""
    return min(1.0, (2.0 if alternative == "two-sided" else 1.0) * 0.5**n)


def fewest(p: float, alternative: Alternative = "two-sided", tests: int = 1) -> int:
    """The fewest pairs that can reach `p` after Holm's correction of a family of `tests`.

    ValueError unless 0 < p < 1 and there is a test.
    """
    if not 0 < p < 1 or tests < 1:
        raise ValueError(f"a level lies between 0 and 1 and a family has a test: {p}, {tests}")
    return next(n for n in count(1) if tests * smallest_p(n, alternative) <= p)


def _exact_p(ranks: Floats, positive: float, alternative: Alternative) -> float:
    """From the distribution of W+ over all 2^n signs; doubled mid-ranks are integers."""
    chances = np.ones(1)
    for rank in np.rint(2 * ranks).astype(int):
        step = np.zeros(rank + 1)
        step[0] = step[rank] = 0.5
        chances = np.convolve(chances, step)
    at = round(2 * positive)
    upper, lower = float(chances[at:].sum()), float(chances[: at + 1].sum())
    if alternative == "two-sided":
        return min(1.0, 2 * min(upper, lower))
    return min(1.0, upper if alternative == "greater" else lower)


def _normal_p(ranked: Floats, alternative: Alternative) -> float:
    """Normal approximation with continuity and tie correction."""
    test = stats.wilcoxon(ranked, alternative=alternative, correction=True, method="asymptotic")
    return float(test.pvalue)


def holm(p_values: Mapping[Key, float], family: int = 0) -> dict[Key, float]:
    """Holm's (1979) adjusted p-values of a family of tests, by the same names.

    A `family` that is larger counts declared tests too that could not be made, as if they failed.
    ValueError if a p-value is NaN or does not lie between 0 and 1: in an order it has no place.
    """
    for name, p in p_values.items():
        if not 0 <= p <= 1:
            raise ValueError(f"the p-value of {name} is {p}, and not between 0 and 1")
    size = max(family, len(p_values))
    adjusted: dict[Key, float] = {}
    running = 0.0
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    for rank, (key, p) in enumerate(ordered):
        running = max(running, min(1.0, (size - rank) * p))
        adjusted[key] = running
    return {key: adjusted[key] for key in p_values}


def finite(values: ArrayLike) -> Floats:
    """As floats; ValueError if there is none, or one is NaN or infinite."""
    array = np.asarray(values, dtype=np.float64)
    if not array.size or not np.isfinite(array).all():
        raise ValueError("statistics need at least one value and no NaN or infinity")
    return array
