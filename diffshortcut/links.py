"""What the links of a purification say of themselves, and whether they are a target. No torch."""

from collections.abc import Mapping, Sequence
from typing import Any

SECONDS = "seconds.purification."  # of the purification alone: no loading, nothing done twice
NOTED = "noted."
Facts = Mapping[str, Mapping[str, Any]]  # of the stage purify, by link


def kind(link: Mapping[str, Any]) -> str:
    """The name of a link's class, by which it draws."""
    return str(link["_target_"]).rpartition(".")[2]


def numbers(kinds: Sequence[str]) -> list[int]:
    """The number of each link of a chain, by kind: it counts those of one class, from 1."""
    return [kinds[: place + 1].count(each) for place, each in enumerate(kinds)]


def scope(kind: str, number: int = 1) -> str:
    """What a link's draws are named by: two of a chain add no equal noise, two arms with one do."""
    return f"{kind} {number}" if number > 1 else kind


def scopes(kinds: Sequence[str]) -> list[str]:
    """The scope of each link of a chain."""
    return [scope(*each) for each in zip(kinds, numbers(kinds), strict=True)]


def aimed_at(target: Any, purifier: Mapping[str, Any] | None) -> bool:
    """Whether an attack's target is the purification itself: equal links in the same order."""
    if not isinstance(target, Mapping) or not target:
        return False
    return list(target.items()) == list((purifier or {}).items())


def of(stages: Mapping[str, Mapping[str, Any]]) -> Facts:
    """The facts of the links among those of a cell's stages (purify.jpeg, personalize ...)."""
    prefix = "purify."
    return {n.removeprefix(prefix): told for n, told in stages.items() if n.startswith(prefix)}


def seconds(facts: Facts) -> dict[str, float]:
    """Such as seconds.purification.jpeg."""
    wanted = "purification_seconds"
    return {f"{SECONDS}{link}": told[wanted] for link, told in facts.items() if wanted in told}


def noted(facts: Facts) -> dict[str, float]:
    """The terms of the links' last notes, such as noted.impress.distance."""
    return {
        f"{NOTED}{link}.{term}": value
        for link, told in facts.items()
        for term, value in told.get("last", {}).items()
        if term != "step"
    }
