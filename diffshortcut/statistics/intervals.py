"""Estimates over people with intervals: the cluster bootstrap and what is made of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from diffshortcut.statistics.signed_rank import MIN_PEOPLE, Floats, finite


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
    (the expanded percentile interval of Hesterberg 2015). No interval if the statistic of a draw is
    not finite, as a ratio's may be. ValueError if a value is not finite.
    """
    table = finite(values)
    people = len(table)
    value = float(statistic(table.mean(0)[None])[0])
    if people < MIN_PEOPLE:
        return Estimate(value=value, low=None, high=None, people=people, level=level)
    picks = np.random.default_rng(seed).integers(people, size=(draws, people))
    reach = stats.t.ppf((1 + level) / 2, people - 1) * np.sqrt(people / (people - 1))
    tail = float(stats.norm.cdf(-reach))
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = statistic(table[picks].mean(1))
    if not np.isfinite(drawn).all():
        return Estimate(value=value, low=None, high=None, people=people, level=level)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(value=value, low=float(low), high=float(high), people=people, level=level)


def mean(values: ArrayLike, *, seed: int = 0) -> Estimate:
    """The mean of figures (people,)."""
    return bootstrap(finite(values)[:, None], lambda m: m[:, 0], seed=seed)


def mean_difference(a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> Estimate:
    """mean(a) - mean(b) of figures (people,) paired by person."""
    return bootstrap(np.stack([finite(a), finite(b)], 1), lambda m: m[:, 0] - m[:, 1], seed=seed)


def recovered(
    ours: ArrayLike, protected: ArrayLike, clean: ArrayLike, *, seed: int = 0
) -> Estimate:
    """(ours - protected) / (clean - protected): the share of the loss that a defense wins back.

    All (people,), paired by person. No interval unless that of the loss clean - protected lies
    above 0, and the loss of no draw is 0: the share of nothing, or of a gain, means nothing.
    """
    table = np.stack([finite(ours), finite(protected), finite(clean)], 1)
    loss = mean_difference(clean, protected, seed=seed)
    if not loss.value:
        return Estimate(value=None, low=None, high=None, people=len(table))
    if loss.positive:
        return bootstrap(table, _share, seed=seed)
    share = float(_share(table.mean(0)[None])[0])
    return Estimate(value=share, low=None, high=None, people=len(table))


def _share(means: Floats) -> Floats:
    return (means[:, 0] - means[:, 1]) / (means[:, 2] - means[:, 1])


def deviation(values: ArrayLike) -> float | None:
    """The standard deviation (n - 1) of figures (people,); None of one person."""
    table = finite(values)
    return float(table.std(ddof=1)) if len(table) > 1 else None
