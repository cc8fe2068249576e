"""The claims of several folders: which of them are one family, and what is left of their stars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffshortcut.artifacts import keys
from diffshortcut.errors import UserError
from diffshortcut.report.labels import Described
from diffshortcut.result_files import COMPARISON
from diffshortcut.statistics import MIN_PEOPLE, holm
from diffshortcut.statistics.comparison import STAR

Key = tuple[str, ...]  # of a claim
People = frozenset[str]


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
    def people(self) -> People:
        """Everybody whom its record names."""
        return frozenset(person for of in self.record.get("stages", {}).values() for person in of)

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

    A claim that is tested on other people is another test, for else it would have as many chances
    of a star. Tested on some of the people of another folder it is one with that test: corrected as
    if it were it, and without a star. UserError for a p-value that is none.
    """
    tested = _tested(made)
    counted = {(key, people): p for key, of in tested.items() for people, p in of.items()}
    try:
        return [[_corrected(v, of, tested, counted, family) for v in of.verdicts] for of in made]
    except ValueError as error:  # a record may be anybody's
        raise UserError(f"{COMPARISON}: {error}") from error


def _tested(made: Sequence[Made]) -> dict[Key, dict[People, float]]:
    """The p of each claim by the people that it was tested on, who are not all among others."""
    found: dict[Key, dict[People, float]] = {}
    for of in sorted(made, key=lambda of: -len(of.people)):
        for verdict in of.verdicts:
            tests = found.setdefault(of.key(verdict["claim"]), {})
            if not any(of.people <= others for others in tests):
                tests[of.people] = verdict["p_value"]
    return found


def declared(made: Sequence[Made]) -> int:
    """How many claims the folders declare, equal ones once for all who are among the same people.

    Of an experiment all, though some of its jobs lack.
    """
    here: dict[str, set[Key]] = {}
    said: dict[str, int] = {}
    for of in made:
        here.setdefault(of.family, set()).update(of.claims())
        said[of.family] = max(said.get(of.family, 0), of.compared.get("family", 0))
    again = sum(len(tests) - 1 for tests in _tested(made).values())
    return again + sum(max(len(claims), said[name]) for name, claims in here.items())


def _corrected(
    verdict: Mapping[str, Any],
    of: Made,
    tested: Mapping[Key, Mapping[People, float]],
    counted: Mapping[tuple[Key, People], float],
    family: int,
) -> Mapping[str, Any]:
    key = of.key(verdict["claim"])
    everybody = next(people for people in tested[key] if of.people <= people)
    test = (key, everybody)
    adjusted = holm({**counted, test: verdict["p_value"]}, family)[test]
    chosen = of.compared.get("worst", {}).keys() & verdict["claim"]["rivals"]
    full = of.people == everybody and verdict["people"] >= MIN_PEOPLE
    star = adjusted <= STAR and full and not chosen and not verdict.get("unlike")
    return {**verdict, "adjusted": adjusted, "star": star}
