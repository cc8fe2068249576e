"""Sanity flags: what makes a result suspicious, in the manner of AutoAttack's checks. No torch.

docs/flags.md explains each: raised if, meaning, what to do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

UNUSED = 0.01  # fewer sub-pixels at the bound: the budget was not used


def of_attack(facts: Mapping[str, Any]) -> dict[str, str]:
    """Flag by name, with what was seen. `facts` are those of the protect stage.

    The bound and finiteness need no flag: the stage fails if either is violated.
    """
    found: dict[str, str] = {}
    if flat := facts.get("no_slope"):
        found["zero_gradient"] = f"no slope at any step: {', '.join(flat)}"
    found |= _of_objectives(facts.get("objective_of", {}))
    if facts.get("no_set_A"):
        found["no_set_A"] = "the clean originals of set_B stand in for set_A"
    if facts.get("steps") and facts["radius"] and facts["at_bound"] < UNUSED:
        found["budget_unused"] = f"{100 * facts['at_bound']:.2g} % of sub-pixels at the bound"
    return found


def _of_objectives(photos: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """`photos`: the attack's objective of each photo, clean, protected and equally noisy."""
    found = {}
    if still := _not_above(photos, "clean"):
        found["objective_not_raised"] = still
    if weak := _not_above(photos, "random"):
        found["weaker_than_noise"] = weak
    return found


def _not_above(photos: Mapping[str, Mapping[str, float]], version: str) -> str:
    return ", ".join(
        f"{photo}: {version} {of[version]:.4g}, protected {of['protected']:.4g}"
        for photo, of in photos.items()
        if of["protected"] <= of[version]
    )


def of_purification(facts: Sequence[Mapping[str, Any]], *, unaware: bool) -> dict[str, str]:
    """Of the facts of a cell's purify stages; `unaware`: the attack did not look through it."""
    found = {}
    if facts and all(link.get("unchanged") for link in facts):
        found["purifier_is_no_op"] = "no purified picture differs from the protected one"
    if any(link.get("random") for link in facts) and unaware:
        found["purifier_is_random"] = "two purifications differ, and the attack looks through none"
    return found
