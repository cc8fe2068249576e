"""Where an arm stands in a matrix: its attack and its defense, named by what was chosen."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from diffshortcut.artifacts import keys
from diffshortcut.config.config import leaves

CLEAN, NONE = "clean", "none"
PROTECTED = "protected"  # what an undefended arm is called beside a command line's own
USUAL = {"dreambooth", "plain"}  # conf/config.yaml's trainer and sampler go without saying
METHOD = ("purifier", "trainer", "sampler")
SCORES = ("ims", "quality", "style")  # of the metrics: what others say stands under other names
RADIUS, TARGET = "radius", "target"  # of an attack
TOKEN = "noise_token"  # of the prompts
WEIGHTS = "weights"  # of a model
MOST = 40  # letters of a value
Values = dict[str, Any]  # by dotted name


@dataclass(frozen=True)
class Place:
    """An arm's row and column; `radius` is its attack's, in 8-bit levels.

    `curve` is what attacks that differ in nothing but the radius have in common.
    """

    attack: str
    defense: str
    radius: float | None = None
    curve: str = ""


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


def undefended(defense: str) -> bool:
    """Whether a place's defense is none, of whatever model, crop or arm (`none, model mini_b`)."""
    return re.split(r",| \[", defense)[0] == NONE


def shown_defense(defense: str) -> str:
    """A place's defense as people read it."""
    return "undefended" + defense.removeprefix(NONE) if undefended(defense) else defense


def places(arms: Sequence[Described]) -> dict[str, Place]:
    """The place of each arm by name, no two alike.

    Attack and defense have a word each: the option that was chosen, else a part of the arm's own
    name. Behind words that are alike of different configs stand the values that tell them apart.
    Of BPDA at two purifiers, and of ours with two noise tokens,

        adaptive/bpda, at codeformer        ours, UNKNOWN degraded quality
        adaptive/bpda, at codeformer_sr     ours, XX noisy pattern

    and of ASPL `aspl, radius 4` and `aspl, radius 11`; the radius comes last, so that attacks which
    differ in nothing else have the same `curve`. Arms that differ in something else, such as their
    crop, have their own names behind their defenses.
    """
    names = [arm.name for arm in arms]
    attacks = [_values(arm.attack()) for arm in arms]
    without = [{key: of[key] for key in of if key != RADIUS} for of in attacks]
    curves = _told_apart(_attack_words(arms), without, names)
    rows = _told_apart(curves, attacks, names)
    defenses = [_token(arm) | _values(arm.defense()) for arm in arms]
    columns = _told_apart(_defense_words(arms), defenses, names)
    at = list(zip(rows, columns, strict=True))
    return {
        arm.name: Place(
            attack=row,
            defense=column if at.count((row, column)) == 1 else f"{column} [{arm.name}]",
            radius=_radius(arm),
            curve=curve,
        )
        for arm, curve, row, column in zip(arms, curves, rows, columns, strict=True)
    }


def _attack_words(arms: Sequence[Described]) -> list[str]:
    """What was chosen, else the first word of the arm's own name.

    An arm called `protected` is called as one that has the same attack.
    """
    words = [arm.choices.get("attack") or arm.said.partition("+")[0] for arm in arms]
    words = [CLEAN if word == NONE else word for word in words]
    known: dict[str, str] = {}
    for arm, word in zip(arms, words, strict=True):
        if word != PROTECTED and arm.config:
            known.setdefault(keys.digest(arm.attack()), word)
    return [
        known.get(keys.digest(arm.attack()), word) if word == PROTECTED and arm.config else word
        for arm, word in zip(arms, words, strict=True)
    ]


def _defense_words(arms: Sequence[Described]) -> list[str]:
    """The purifier, and trainer and sampler if arms of that purifier differ in them."""
    victims: dict[str, set[tuple[str, ...]]] = {}
    for arm in arms:
        victims.setdefault(_purifier(arm), set()).add(_victim(arm))
    words = []
    for arm in arms:
        purifier = _purifier(arm)
        chosen = [purifier, *(_victim(arm) if len(victims[purifier]) > 1 else ())]
        words.append("+".join(word for word in chosen if word != NONE) or NONE)
    return words


def _purifier(arm: Described) -> str:
    if arm.choices:
        return arm.choices.get("purifier", NONE)
    return arm.said.partition("+")[2] or NONE


def _victim(arm: Described) -> tuple[str, ...]:
    chosen = (arm.choices.get(group, "") for group in ("trainer", "sampler"))
    return tuple(option for option in chosen if option and option not in USUAL)


def _values(node: Any) -> Values:
    """What a node computes with, by dotted name; a purifier that is aimed at by its links too."""
    found = {key: of for key, of in leaves(node) if not keys.is_neutral(key)}
    aimed = node.get(TARGET) if isinstance(node, Mapping) else None
    return {TARGET: "_".join(aimed), **found} if isinstance(aimed, Mapping) else found


def _token(arm: Described) -> Values:
    """The noise token of the arm's prompts, if its defense has it in one of its texts."""
    token = (arm.config.get("prompts") or {}).get("noise_token")
    texts = [str(value) for _, value in leaves(arm.defense())]
    return {TOKEN: token} if token and any(token in text for text in texts) else {}


def _told_apart(words: Sequence[str], sides: Sequence[Values], names: Sequence[str]) -> list[str]:
    """The words; behind alike ones of different values as few of these as tell them apart.

    Behind those that no value tells apart stands the name of the first arm that has it.
    """
    found = list(words)
    for word in dict.fromkeys(words):
        alike = [n for n, other in enumerate(words) if other == word]
        said = _fewest([sides[n] for n in alike])
        for n, of in zip(alike, said, strict=True):
            found[n] = ", ".join([word, *of])
    firsts: dict[str, dict[str, str]] = {}
    for label, side, name in zip(found, sides, names, strict=True):
        firsts.setdefault(label, {}).setdefault(keys.digest(side), name)
    return [
        label if len(firsts[label]) == 1 else f"{label} [{firsts[label][keys.digest(side)]}]"
        for label, side in zip(found, sides, strict=True)
    ]


def _fewest(sides: Sequence[Values]) -> list[tuple[str, ...]]:
    """Of each side what it says under keys that part them, the least deep first."""
    said: list[tuple[str, ...]] = [()] * len(sides)
    for key in sorted({key for side in sides for key in side}, key=_depth):
        more = [
            (*of, _said(key, side[key])) if key in side else of
            for of, side in zip(said, sides, strict=True)
        ]
        if not key.endswith("_target_") and len(set(more)) > len(set(said)):
            said = more
    return said


def _said(key: str, value: Any) -> str:
    """A value under the last word of its name, in letters that a table has room for."""
    text = shorten(str(value), MOST, placeholder=" ...") if isinstance(value, str) else str(value)
    if key == TOKEN:
        return text
    word = next(part for part in reversed(key.split(".")) if not part.isdigit())
    word = "model" if word == WEIGHTS else word
    return f"{'at' if key == TARGET else word} {text}"


def _depth(key: str) -> tuple[bool, bool, int, str]:
    """A target and a token tell most, then which models; the parts of these say it again."""
    of_model = key.rpartition(".")[2] == WEIGHTS
    return key not in (TARGET, TOKEN), not of_model, key.count("."), key


def _radius(arm: Described) -> float | None:
    found = (arm.attack() or {}).get(RADIUS)
    return float(found) if isinstance(found, int | float) else None
