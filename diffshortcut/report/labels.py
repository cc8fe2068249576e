"""Where an arm stands in a matrix: its attack and its defense, named by what was chosen."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from diffshortcut import keys
from diffshortcut.config import leaves

CLEAN, NONE = "clean", "none"
PROTECTED = "protected"  # what an undefended arm is called beside a command line's own
USUAL = {"dreambooth", "plain"}  # conf/config.yaml's trainer and sampler go without saying
METHOD = ("purifier", "trainer", "sampler")
SCORES = ("ims", "quality", "style")  # of the metrics: what others say stands under other names
MOST = 2  # differing values that a name takes


@dataclass(frozen=True)
class Place:
    """An arm's row and column; `radius` is its attack's, in 8-bit levels."""

    attack: str
    defense: str
    radius: float | None = None


@dataclass(frozen=True)
class Described:
    """What is known of an arm: resolved config and choices (both may be empty).

    `name` is the joined one, `said` what its folder calls it.
    """

    name: str
    said: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> str | None:
        """What makes its rows, whatever the number of people and the seed; None if not known."""
        if not self.config:
            return None
        made = leaves([self.attack(), self.defense(), self.measured()])
        return keys.digest([at for at in made if not keys.is_neutral(at[0])])

    def attack(self) -> Any:
        """The attack's node."""
        return self.config.get("attack")

    def defense(self) -> Any:
        """The nodes of purifier, trainer and sampler."""
        return {part: self.config.get(part) for part in METHOD}

    def measured(self) -> Any:
        """Whose pictures, and how they are cropped and scored."""
        data = {k: v for k, v in (self.config.get("data") or {}).items() if k != "people"}
        metric = self.config.get("metric") or {}
        return [data, self.config.get("crop"), {name: metric.get(name) for name in SCORES}]


def together(name: str, members: Sequence[Described]) -> Described:
    """An arm that is for each person one of `members`, whose defense it has if they share one."""
    first = members[0]
    alike = all(m.config and m.defense() == first.defense() for m in members)
    if not alike:
        return Described(name, name)
    config = {**first.config, "attack": {"worst": [m.attack() for m in members]}}
    choices = {**first.choices, "attack": name.partition("+")[0]} if first.choices else {}
    return Described(name, name, config, choices)


def places(arms: Sequence[Described]) -> dict[str, Place]:
    """The place of each arm by name, no two alike.

    Options that are configured in several ways get what differs between them behind their names.
    An arm without choices is taken at its word: attack+defense.
    """
    words = _words(arms)
    attacks = _distinct(arms, lambda arm: words[arm.name], Described.attack)
    defenses = _distinct(_told_apart(arms), lambda arm: arm.name, Described.defense)
    found = {
        arm.name: Place(attack, defense, _radius(arm))
        for arm, attack, defense in zip(arms, attacks, defenses, strict=True)
    }
    taken = [(place.attack, place.defense) for place in found.values()]
    return {
        name: place
        if taken.count((place.attack, place.defense)) == 1
        else replace(place, defense=f"{place.defense} [{name}]")
        for name, place in found.items()
    }


def _words(arms: Sequence[Described]) -> dict[str, str]:
    """The attack's name of each arm: what was chosen, else the first word of the arm's own name.

    An arm called `protected` is called as one that has the same attack.
    """
    words: dict[str, str] = {}
    alike: dict[str, str] = {}
    for arm in arms:
        word = arm.choices.get("attack") or arm.said.partition("+")[0]
        words[arm.name] = CLEAN if word == NONE else word
        if word != PROTECTED and arm.config:
            alike.setdefault(keys.digest(arm.attack()), words[arm.name])
    for arm in arms:
        if words[arm.name] == PROTECTED and arm.config:
            words[arm.name] = alike.get(keys.digest(arm.attack()), PROTECTED)
    return words


def _told_apart(arms: Sequence[Described]) -> list[Described]:
    """The arms under the names of their defenses: trainer and sampler only where they differ."""
    victims: dict[str, set[tuple[str, ...]]] = {}
    for arm in arms:
        victims.setdefault(_purifier(arm), set()).add(_victim(arm))
    named = []
    for arm in arms:
        purifier = _purifier(arm)
        words = [purifier, *(_victim(arm) if len(victims[purifier]) > 1 else ())]
        name = "+".join(word for word in words if word != NONE) or NONE
        named.append(replace(arm, name=name))
    return named


def _purifier(arm: Described) -> str:
    if arm.choices:
        return arm.choices.get("purifier", NONE)
    return arm.said.partition("+")[2] or NONE


def _victim(arm: Described) -> tuple[str, ...]:
    chosen = (arm.choices.get(group, "") for group in ("trainer", "sampler"))
    return tuple(option for option in chosen if option and option not in USUAL)


def _distinct(
    arms: Sequence[Described],
    name: Callable[[Described], str],
    node: Callable[[Described], Any],
) -> list[str]:
    """The names; alike ones of different nodes get the values that differ."""
    nodes: dict[str, dict[str, dict[str, Any]]] = {}
    for arm in arms:
        nodes.setdefault(name(arm), {})[keys.digest(node(arm))] = dict(leaves(node(arm)))
    found = []
    for arm in arms:
        alike = nodes[name(arm)]
        own = alike[keys.digest(node(arm))]
        found.append(", ".join([name(arm), *_differing(own, alike.values())]))
    return found


def _differing(own: Mapping[str, Any], alike: Iterable[Mapping[str, Any]]) -> list[str]:
    everyone = list(alike)
    where = [key for key in own if any(other.get(key) != own[key] for other in everyone)]
    where = [key for key in where if not keys.is_neutral(key)]
    said = [f"{key.rpartition('.')[2]} {own[key]}" for key in sorted(where, key=_depth)]
    return list(dict.fromkeys(said))[:MOST]


def _depth(key: str) -> tuple[int, str]:
    return key.count("."), key


def _radius(arm: Described) -> float | None:
    found = (arm.attack() or {}).get("radius")
    return float(found) if isinstance(found, int | float) else None
