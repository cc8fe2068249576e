"""Paired tests and intervals of the project: Wilcoxon signed-rank, Holm, bootstrap over people.

Arrays in, small records out; `comparison.py` applies them to rows. Numpy and scipy only.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Alternative = Literal["two-sided", "greater", "less"]
Floats = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)

MIN_PEOPLE = 8  # below, the exact two-sided test cannot reach p = 0.01
EXACT_UP_TO = 50


@dataclass(frozen=True)
class Wilcoxon:
    """A signed-rank test of paired differences against a median of 0.

    `n` differences were ranked; `zeros` more were exactly 0 and dropped (Wilcoxon's rule). `effect`
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


def wilcoxon(differences: ArrayLike, alternative: Alternative = "two-sided") -> Wilcoxon:
    """Wilcoxon's test of paired differences (n,); exact, ties included, up to n = 50.

    "greater" asks whether the differences lie above 0. ValueError if one is not finite.
    """
    values = _finite(differences)
    ranked = values[values != 0]
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
        smallest_p=min(1.0, (2.0 if alternative == "two-sided" else 1.0) * 0.5**n),
        effect=(2 * positive - total) / total if n else 0.0,
    )


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


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Holm's (1979) adjusted p-values of a family of tests, by the same names."""
    adjusted: dict[Key, float] = {}
    running = 0.0
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    for rank, (key, p) in enumerate(ordered):
        running = max(running, min(1.0, (len(ordered) - rank) * p))
        adjusted[key] = running
    return {key: adjusted[key] for key in p_values}


@dataclass(frozen=True)
class Estimate:
    """A figure over people with its interval; below 8 people a point only (low, high are None).

    `value` is None only for a ratio whose denominator is 0.
    """

    value: float | None
    low: float | None
    high: float | None
    people: int
    level: float = 0.95

    @property
    def positive(self) -> bool:
        """Whether there is an interval and all of it lies above 0."""
        return self.low is not None and self.low > 0


Statistic = Callable[[Floats], Floats]  # column means (draws, k) to (draws,)


def bootstrap(
    values: ArrayLike,
    statistic: Statistic,
    *,
    draws: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Cluster bootstrap: `statistic` of the column means of values (people, k), people redrawn.

    A person's row holds means over that person's images, so images of one trained model are never
    taken as independent. Percentiles are widened for small samples to the reach of Student's t
    (the expanded percentile interval of Hesterberg 2015). ValueError if a value is not finite.
    """
    table = _finite(values)
    people = len(table)
    value = float(statistic(table.mean(0)[None])[0])
    if people < MIN_PEOPLE:
        return Estimate(value=value, low=None, high=None, people=people, level=level)
    picks = np.random.default_rng(seed).integers(people, size=(draws, people))
    reach = stats.t.ppf((1 + level) / 2, people - 1) * np.sqrt(people / (people - 1))
    tail = float(stats.norm.cdf(-reach))
    low, high = np.quantile(statistic(table[picks].mean(1)), [tail, 1 - tail])
    return Estimate(value=value, low=float(low), high=float(high), people=people, level=level)


def mean(values: ArrayLike, *, seed: int = 0) -> Estimate:
    """The mean of figures (people,)."""
    return bootstrap(_finite(values)[:, None], lambda m: m[:, 0], seed=seed)


def mean_difference(a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> Estimate:
    """mean(a) - mean(b) of figures (people,) paired by person."""
    return bootstrap(np.stack([_finite(a), _finite(b)], 1), lambda m: m[:, 0] - m[:, 1], seed=seed)


def recovered(
    ours: ArrayLike, protected: ArrayLike, clean: ArrayLike, *, seed: int = 0
) -> Estimate:
    """(ours - protected) / (clean - protected): the share of the loss that a defense wins back.

    All (people,), paired by person. No interval unless that of the loss clean - protected lies
    above 0: the share of nothing, or of a gain, means nothing.
    """
    table = np.stack([_finite(ours), _finite(protected), _finite(clean)], 1)
    loss = mean_difference(clean, protected, seed=seed)
    if not loss.value:
        return Estimate(value=None, low=None, high=None, people=len(table))
    if loss.positive:
        return bootstrap(table, _share, seed=seed)
    share = float(_share(table.mean(0)[None])[0])
    return Estimate(value=share, low=None, high=None, people=len(table))


def _share(means: Floats) -> Floats:
    return (means[:, 0] - means[:, 1]) / (means[:, 2] - means[:, 1])


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not array.size or not np.isfinite(array).all():
        raise ValueError("statistics need at least one value and no NaN or infinity")
    return array
