"""The claims of several folders: which of them are one family, and what is left of their stars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffshortcut import keys
from diffshortcut.comparison import STAR
from diffshortcut.report.labels import Described
from diffshortcut.statistics import MIN_PEOPLE, holm

Key = tuple[str, ...]  # of a claim


@dataclass(frozen=True)
class Made:
    """What a folder says of its claims, and the arms that they are about."""

    title: str
    record: Mapping[str, Any]
    compared: Mapping[str, Any]
    arms: Mapping[str, Described]

    @property
    def verdicts(self) -> list[Mapping[str, Any]]:
        """Of its claims that could be tested."""
        return list(self.compared.get("verdicts", []))

    @property
    def family(self) -> str:
        """What the jobs of a sweep have in common: their experiment, else what they compare.

        Nothing is known to be another folder's without a record.
        """
        choices = self.record.get("choices", {}).values()
        name = next((of["experiment"] for of in choices if "experiment" in of), "")
        return name or (keys.digest(self._compare) if self._compare else self.title)

    @property
    def _compare(self) -> Mapping[str, Any]:
        """The command line's own: its arm is the last."""
        configs = list(self.record.get("arms", {}).values())
        return (configs[-1].get("compare") if configs else None) or {}

    def claims(self) -> set[Key]:
        """All that are declared here, tested or not."""
        found = {self.key(v["claim"]) for v in self.verdicts}
        found |= {self.key(claim) for claim in self._compare.get("claims", ())}
        unknown = self.compared.get("declared", 0) - len(found)
        return found | {(self.title, str(n)) for n in range(unknown)}

    def key(self, claim: Mapping[str, Any]) -> Key:
        """Equal for equal claims of a family, of whichever people and under whichever names."""
        arm, *rivals = (self._content(name) for name in (claim["arm"], *claim["rivals"]))
        return (self.family, claim["metric"], arm, *sorted(set(rivals)))

    def _content(self, name: str) -> str:
        """With the seed: another one's trainings are another test."""
        arm = self.arms.get(name, Described(name))
        return f"{arm.content() or name} {arm.config.get('seed')}"


def judged_together(made: Sequence[Made], family: int) -> list[list[Mapping[str, Any]]]:
    """Each folder's verdicts, corrected as one family: a sweep declares its claims job by job.

    A claim that several folders have tested is one of the family, by its test of the most people;
    each of its tests is corrected as if it were that one.
    """
    tested = [(of.key(v["claim"]), v) for of in made for v in of.verdicts]
    counted: dict[Key, float] = {}
    for key, verdict in sorted(tested, key=lambda pair: -pair[1]["people"]):
        counted.setdefault(key, verdict["p_value"])
    return [
        [
            _corrected(v, holm({**counted, key: v["p_value"]}, family)[key], of.compared)
            for v in of.verdicts
            for key in [of.key(v["claim"])]
        ]
        for of in made
    ]


def declared(made: Sequence[Made]) -> int:
    """How many claims the folders declare, equal ones once.

    Of an experiment all, though some of its jobs lack.
    """
    here: dict[str, set[Key]] = {}
    said: dict[str, int] = {}
    for of in made:
        here.setdefault(of.family, set()).update(of.claims())
        said[of.family] = max(said.get(of.family, 0), of.compared.get("family", 0))
    return sum(max(len(claims), said[name]) for name, claims in here.items())


def _corrected(
    verdict: Mapping[str, Any], adjusted: float, compared: Mapping[str, Any]
) -> Mapping[str, Any]:
    chosen = compared.get("worst", {}).keys() & verdict["claim"]["rivals"]
    star = adjusted <= STAR and verdict["people"] >= MIN_PEOPLE and not chosen
    return {**verdict, "adjusted": adjusted, "star": star}
