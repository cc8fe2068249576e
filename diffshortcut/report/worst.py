"""Worst-of arms: of each person the arm that did worst, as an adversary may choose per person."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffshortcut.statistics.comparison import Row, person_means

log = logging.getLogger(__name__)
JUDGE = "overall"  # the arm with a person's lowest mean is that person's worst


@dataclass(frozen=True)
class Worst:
    """An arm put together from others: who of `arms` was `chosen` for each person."""

    arms: tuple[str, ...]
    chosen: dict[str, str]

    def rows(self, name: str, rows: Sequence[Row]) -> list[Row]:
        """All rows of each person's chosen arm, under the name of this one."""
        return [{**row, "arm": name} for row in rows if self._has(row)]

    def counts(self) -> dict[str, int]:
        """For how many people each arm was chosen."""
        people = list(self.chosen.values())
        return {arm: people.count(arm) for arm in self.arms}

    def _has(self, row: Row) -> bool:
        return self.chosen.get(row["person"]) == row["arm"]


def choose(rows: Sequence[Row], declared: Mapping[str, Sequence[str]]) -> dict[str, Worst]:
    """The worst-of arms by name; one that has no person is left out, with a warning.

    A person counts only if every one of the arms was measured: the worst of those that are left
    would flatter the defense. Of equal arms the one that is named first is taken.
    """
    found: dict[str, Worst] = {}
    for name, arms in declared.items():
        means = {arm: person_means(rows, JUDGE, arm) for arm in arms}
        shared = sorted(set.intersection(*(set(of_arm) for of_arm in means.values())))
        chosen = {person: _lowest(means, person) for person in shared}
        if chosen:
            found[name] = Worst(tuple(arms), chosen)
        else:
            log.warning("left out, for nobody has %s of all its arms: %s", JUDGE, name)
    return found


def _lowest(means: Mapping[str, Mapping[str, float]], person: str) -> str:
    return min(means, key=lambda arm: means[arm][person])
