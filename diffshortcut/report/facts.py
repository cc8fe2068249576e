"""What a comparison of arms says, worked out once from the rows for every view of it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import Any

from diffshortcut.report import measures
from diffshortcut.report.worst import Worst
from diffshortcut.statistics import Estimate, holm, mean
from diffshortcut.statistics.comparison import (
    PRIMARY,
    Claim,
    Compared,
    Row,
    Verdict,
    compare,
    direction,
    grouped,
    judge,
    people_means,
    recovery,
)

log = logging.getLogger(__name__)
Flags = Mapping[str, Mapping[str, Mapping[str, str]]]  # arm -> flag -> person -> what was seen


@dataclass(frozen=True)
class Baselines:
    """Beside which arms an arm is set: the clean one, and the undefended one of its attack."""

    clean: str | None
    protected: dict[str, str]

    def of(self, arm: str) -> list[str]:
        """The baselines of an arm, itself left out."""
        named = [self.clean, self.protected.get(arm)]
        return [name for name in dict.fromkeys(named) if name is not None and name != arm]


@dataclass(frozen=True)
class Published:
    """The paper's figures: of each arm one for each of `metrics`."""

    metrics: Sequence[str]
    arms: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Facts:
    """Means, comparisons and verdicts of arms, in the arms' order.

    `knows` says for each arm what its attack knows of the victim (threat.py); `flags` are those
    that its cells have raised; `family` how many claims are declared in all, if other jobs of the
    sweep have some too; `changes` how far the protection moved each person's pictures on the
    mean, in 8-bit levels. `worst` are those of `arms` that are put together from others,
    `published` what the paper reports of them.
    """

    arms: list[str]
    rows: Sequence[Row]
    baselines: Baselines
    claims: Sequence[Claim] = field(default_factory=tuple)
    family: int | None = None
    pairs: Sequence[tuple[str, str]] = ()
    knows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    flags: Flags = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    worst: Mapping[str, Worst] = field(default_factory=dict)
    published: Published | None = None

    @cached_property
    def metrics(self) -> list[str]:
        """Those that were measured and are shown (measures.py)."""
        return measures.shown(metric for _, metric in self._groups)

    @cached_property
    def _groups(self) -> dict[tuple[str, str], list[Row]]:
        return grouped(self.rows)

    def _of(self, metric: str, *arms: str) -> list[Row]:
        return [row for arm in arms for row in self._groups.get((arm, metric), ())]

    @cached_property
    def _people(self) -> dict[tuple[str, str], dict[str, float]]:
        return people_means(self.rows)

    def mean(self, arm: str, metric: str) -> float | None:
        """Over people, of their means over images; None if it was not measured."""
        people = self._people.get((arm, metric))
        return fmean(people.values()) if people else None

    def estimate(self, arm: str, metric: str) -> Estimate | None:
        """The mean with its interval; None if it was not measured."""
        people = self._people.get((arm, metric))
        return mean(list(people.values())) if people else None

    def means(self) -> dict[tuple[str, str], float]:
        """Those of every arm and metric."""
        return {key: fmean(people.values()) for key, people in self._people.items()}

    def change(self, arm: str) -> float | None:
        """How far the arm's protection moved a sub-pixel, in 8-bit levels; None if unknown."""
        people = self.changes.get(arm)
        return fmean(people.values()) if people else None

    @property
    def attacks(self) -> list[str]:
        """The arms that stand for an attack: the undefended one, else all that have it."""
        protected = self.baselines.protected
        own = [arm for arm in self.arms if arm not in self.worst]
        return [arm for arm in own if protected.get(arm, arm) == arm]

    def people(self, arm: str) -> int:
        """How many people an arm has."""
        found = (people for (name, _), people in self._people.items() if name == arm)
        return len(set().union(*found))

    def better(self, metric: str) -> str | None:
        """The metric's good direction, as its rows say."""
        return direction(self.rows, metric)

    @cached_property
    def comparisons(self) -> list[Compared]:
        """Each arm against its baselines, its rivals in a claim and what it is declared to be
        paired with, in the shown metrics both were measured in."""
        claimed = [(claim.arm, rival) for claim in self.claims for rival in claim.rivals]
        asked = [(arm, against) for arm in self.arms for against in self.baselines.of(arm)]
        return [
            compare(self._of(metric, arm, against), metric, arm, against)
            for arm, against in dict.fromkeys([*asked, *self.pairs, *claimed])
            for metric in self.metrics
            if self._shared(metric, arm, against)
        ]

    @cached_property
    def recoveries(self) -> dict[tuple[str, str], dict[str, Estimate]]:
        """(arm - protected) / (clean - protected) by arm and protected one, then by metric.

        Of each defended arm, and of declared pairs of an arm with an undefended one. Left out
        unless the interval of clean - protected lies above 0 (below 8 people there is none): the
        share of a loss that may be no loss means nothing.
        """
        clean = self.baselines.clean
        found: dict[tuple[str, str], dict[str, Estimate]] = {}
        declared = [pair for pair in self.pairs if self._is_undefended(pair[1])]
        for arm, protected in [*self.baselines.protected.items(), *declared]:
            if clean is not None and protected not in (clean, arm) and arm != clean:
                trio = (arm, protected, clean)
                shares = {
                    metric: recovery(self._of(metric, *trio), metric, *trio)
                    for metric in PRIMARY
                    if self._shared(metric, *trio)
                }
                sure = {m: share for m, share in shares.items() if share.low is not None}
                found |= {(arm, protected): sure} if sure else {}
        return found

    def _is_undefended(self, arm: str) -> bool:
        """Whether an arm is a protected baseline, or put together from such."""
        members = self.worst[arm].arms if arm in self.worst else (arm,)
        return set(members) <= set(self.baselines.protected.values())

    @cached_property
    def adjusted(self) -> dict[tuple[str, str, str], float]:
        """Of the declared pairs the people's p by (arm, against, metric), Holm over all of them."""
        tested = {
            (c.arm, c.against, c.metric): c.person_test.p_value
            for c in self.comparisons
            if self.is_paired(c)
        }
        return holm(tested, self.paired)

    def is_paired(self, found: Compared) -> bool:
        """Whether a comparison is a test of a declared pair."""
        pair = (found.arm, found.against)
        return pair in self.pairs and found.metric in PRIMARY and self.is_fair(*pair)

    def is_fair(self, arm: str, against: str) -> bool:
        """Whether both are chosen from as many: else the lowest lies below by chance alone."""
        return self._chosen_from(arm) == self._chosen_from(against)

    def _chosen_from(self, arm: str) -> int:
        return len(self.worst[arm].arms) if arm in self.worst else 1

    @property
    def paired(self) -> int:
        """How many tests of declared pairs there are in this job; what was not measured counts."""
        fair = [pair for pair in set(self.pairs) if self.is_fair(*pair)]
        return len(fair) * sum(metric in self.metrics for metric in PRIMARY)

    @property
    def declared(self) -> int:
        """How many claims Holm's correction is over."""
        return max(len(set(self.claims)), self.family or 0)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The outcome of the declared claims; one that names what was not measured is left out.

        It counts in Holm's correction all the same. Against a worst-of arm no star is earned: the
        lowest of several means lies below each by chance alone.
        """
        known = [c for c in self.claims if self._shared(c.metric, c.arm, *c.rivals)]
        for claim in set(self.claims) - set(known):
            log.warning("left out, for something of it was not measured: %s", claim)
        named = {(arm, claim.metric) for claim in known for arm in (claim.arm, *claim.rivals)}
        rows = [row for arm, metric in named for row in self._of(metric, arm)]
        found = judge(rows, known, declared=self.declared)
        return [replace(v, star=v.star and not self.worst.keys() & v.claim.rivals) for v in found]

    def starred(self, arm: str, metric: str) -> bool:
        """Whether a claim of the arm in the metric has earned a star."""
        return any(v.star and (v.claim.arm, v.claim.metric) == (arm, metric) for v in self.verdicts)

    def record(self) -> dict[str, Any]:
        """Everything as plain values for JSON; means of all metrics, not only the headline."""
        return {
            "unit": "person",
            "arms": {arm: self._arm(arm) for arm in self.arms},
            "comparisons": [
                {**asdict(c), "fair": self.is_fair(c.arm, c.against)} for c in self.comparisons
            ],
            "recoveries": [
                {"arm": arm, "protected": protected, "shares": {m: asdict(s[m]) for m in s}}
                for (arm, protected), s in self.recoveries.items()
            ],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "declared": len(set(self.claims)),
            "family": self.declared,
            "flags": self.flags,
            "worst": {name: asdict(found) for name, found in self.worst.items()},
        }

    def _arm(self, arm: str) -> dict[str, Any]:
        means = {m: self.mean(arm, m) for name, m in self._people if name == arm}
        return {
            "people": self.people(arm),
            "means": means,
            "attack_knows": list(self.knows.get(arm, ())),
            "mean_change": self.change(arm),
        }

    def _shared(self, metric: str, *arms: str) -> bool:
        people: list[Mapping[str, float]] = [self._people.get((arm, metric), {}) for arm in arms]
        return bool(set.intersection(*(set(found) for found in people)))
