"""The node `compare`: its claims, pairs and worst-of arms are of arms that there are."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffshortcut.errors import UserError, listed


def check(compare: Mapping[str, Any], names: Sequence[str]) -> None:
    """UserError for a claim of another form, or for the name of an arm that there is not."""
    worst = compare["worst"]
    for name, members in worst.items():
        _check_worst(name, members, names)
    claimed = [name for claim in compare["claims"] for name in _claimed(claim)]
    _check_named("claims", claimed, [*names, *worst])
    own = len({str(claim) for claim in compare["claims"]})
    if compare["family"] is not None and compare["family"] < own:
        raise UserError(
            f"compare.family: {own} claims are declared here, so all jobs together have no fewer:"
            f" write compare.family={own} or more, or null for these alone"
        )
    _check_named("pairs", [name for pair in compare["pairs"] for name in pair], [*names, *worst])
    # an arm that stands alone is compared with nothing
    if compare["clean"] is not None and len(names) > 1:
        _check_named("clean", [compare["clean"]], names)


def _check_named(key: str, wanted: Sequence[str], names: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            raise UserError(f"compare.{key}: no arm is called '{name}'.{listed(name, names)}")


def _check_worst(name: Any, members: Sequence[str], names: Sequence[str]) -> None:
    """UserError for a worst-of arm that is called as another, or is not made of several arms."""
    if not isinstance(name, str):
        raise UserError(f"compare.worst: {name!r} is not a name")
    if name in names:
        raise UserError(f"compare.worst: an arm is called '{name}' already")
    if len(members) < 2 or len(set(members)) < len(members):
        raise UserError(f"compare.worst: '{name}' needs two arms or more, each once")
    _check_named("worst", members, names)


def _claimed(claim: Any) -> list[str]:
    match claim:
        case {"metric": str(), "arm": str(arm), "rivals": [_, *_] as rivals, **rest}:
            if arm in rivals:
                raise UserError(f"compare.claims: {arm} is its own rival")
            if not rest and all(isinstance(rival, str) for rival in rivals):
                return [arm, *rivals]
    raise UserError(f"compare.claims: {claim!r} is not {{metric: ..., arm: ..., rivals: [...]}}")
