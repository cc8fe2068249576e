"""The arms of a comparison: the command line itself, and the same with other overrides."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from diffshortcut.artifacts import keys
from diffshortcut.config import catalog, chains, compared, config, schema, sweep
from diffshortcut.errors import UserError

OF_CELL = re.compile(r"[+~]*(attack|purifier)\b")  # words about what a named target is not
# what is one for all arms
SHARED = ("stages", "runtime", "checkpoint", "logger", "compare", "hydra")


@dataclass(frozen=True)
class Arm:
    """A named cell of the comparison with its resolved config.

    `choices` are the options that it was composed of, by group: reports name its parts by them.
    """

    name: str
    config: dict[str, Any]
    choices: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> str:
        """What tells arms apart, whatever their names."""
        return keys.digest({key: node for key, node in self.config.items() if key != "compare"})


def compose(overrides: Sequence[str]) -> list[Arm]:
    """The checked arms of `compare.arms`, each once; the command line's own arm is the last.

    With stages=protect or purify nothing is compared: there is that one arm.
    """
    chains.check(overrides)
    cfg = config.compose(overrides, hydra=True)
    main = _checked(_plain(cfg), overrides)
    if main["stages"] != "all":
        return [_alone(overrides, cfg, main)]
    asked = [_listed(item, overrides, main["purifier"]) for item in main["compare"]["arms"]]
    distinct: dict[str, Arm] = {}
    for arm in asked:
        distinct.setdefault(arm.content(), arm)
    own = Arm(_name(overrides, cfg), main, _choices(cfg))
    own = distinct.pop(own.content(), own)
    own = replace(own, config={**own.config, "compare": _in_sweep(main["compare"])})
    arms = [*distinct.values(), own]
    names = [arm.name for arm in arms]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"compare.arms: two different arms are called '{twice.pop()}'")
    compared.check(main["compare"], names)
    return arms


def _in_sweep(compare: Mapping[str, Any]) -> dict[str, Any]:
    """With a family that counts the claims of all jobs of the sweep."""
    declared = sweep.jobs() * len(compare["claims"])
    known = compare["family"] or 0
    return {**compare, "family": declared} if sweep.jobs() > 1 and declared > known else {**compare}


def _alone(overrides: Sequence[str], cfg: DictConfig, main: dict[str, Any]) -> Arm:
    """The arm of stages=protect or stages=purify; UserError if it would do nothing."""
    attack = cfg.hydra.runtime.choices.attack
    if main["stages"] == "protect":
        if attack == "none":
            raise UserError(
                "stages=protect: attack=none protects nothing; write such as attack=aspl"
            )
        return Arm(f"protected-{attack}", main)
    if not main["purifier"]:
        raise UserError(
            "stages=purify: purifier=none does nothing; write such as purifier=gridpure"
        )
    return Arm(f"purified-{_name(overrides, cfg).removeprefix('clean+')}", main)


def _plain(cfg: DictConfig) -> dict[str, Any]:
    """Without Hydra's part, as plain values."""
    return config.resolve(OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"]))


def _checked(
    found: dict[str, Any], overrides: Sequence[str], defense: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """With what an adaptive attack aims at; UserError for what is wrong."""
    attack = found.get("attack")
    if isinstance(attack, dict) and "target" in attack:
        target = _aimed_at(attack["target"], overrides, defense)
        found = {**found, "attack": {**attack, "target": target}}
    config.check(found)
    return found


def _aimed_at(
    target: Any, overrides: Sequence[str], defense: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """The purifier that an adaptive attack goes through.

    It is named, or else the cell's own; in an arm without one, that of the command line.
    """
    if isinstance(target, str | list):
        name = target if isinstance(target, str) else f"[{','.join(map(str, target))}]"
        others = [word for word in overrides if not OF_CELL.match(word)]
        chains.check([f"purifier={name}"])
        target = config.resolve(config.compose([*others, f"purifier={name}"]))["purifier"]
    if not (target or defense):
        raise UserError(
            "attack.target: there is no purifier to go through: add purifier=..., or name one, such"
            " as attack.target=codeformer_sr"
        )
    return target or dict(defense or {})


def _listed(item: Any, overrides: Sequence[str], defense: Mapping[str, Any]) -> Arm:
    match item:
        case {"name": str(name), "overrides": [*own]} if all(isinstance(o, str) for o in own):
            try:
                _check_own(own)
                chains.check(own)
                cfg, plain = _with(overrides, own)
                return Arm(name, _checked(plain, [*overrides, *own], defense), _choices(cfg))
            except UserError as error:
                raise UserError(f"arm {name}: {error}") from error
    raise UserError(f"compare.arms: {item!r} is not {{name: ..., overrides: [...]}}")


def _check_own(own: Sequence[str]) -> None:
    """UserError for an override that an arm cannot have of its own: all arms are run at once."""
    for override in OverridesParser.create().parse_overrides(list(own)):
        if override.key_or_group.partition(".")[0] in SHARED:
            raise UserError(f"{override.input_line} holds for all arms: say it on the command line")


def _with(overrides: Sequence[str], own: Sequence[str]) -> tuple[DictConfig, dict[str, Any]]:
    """Compose `overrides`, then an arm's own; the config as composed, and as plain values.

    Where the arm chooses another option of a group, what was said about that group's keys holds
    for the arm too, as far as it has such keys: a radius reaches every attack but `none`. The
    option that was chosen before is left out, so the jobs of a sweep have such arms in common.
    """
    parser = OverridesParser.create()
    named = {o.get_key_element() for o in parser.parse_overrides(list(own))}
    chosen = named & catalog.groups().keys()
    about: list[Override] = []
    kept: list[str] = []
    for override in parser.parse_overrides(list(overrides)):
        group, _, key = override.get_key_element().partition(".")
        if key and group.lstrip("+~") in chosen:
            about.append(override)
        elif group not in chosen:
            kept.append(str(override.input_line))
    composed = _composed((*kept, *own), catalog.roots())
    fitting = [line for override in about if (line := _fitted(override, composed[0]))]
    return _composed((*kept, *own, *fitting), catalog.roots()) if fitting else composed


@lru_cache(maxsize=64)
def _composed(words: tuple[str, ...], roots: tuple[Path, ...]) -> tuple[DictConfig, dict[str, Any]]:
    """To be read only."""
    cfg = config.compose(words, hydra=True)
    return cfg, _plain(cfg)


def _fitted(override: Override, cfg: DictConfig) -> str | None:
    """The override as it can be said of `cfg`: of a key it has, or that its target could be given.

    The latter, and what was added with +, is set whether the yaml names the key or not.
    """
    absent = object()
    line, key = str(override.input_line), override.key_or_group
    has = OmegaConf.select(cfg, key, default=absent) is not absent
    if override.is_delete():
        return line if has else None
    above, _, last = key.rpartition(".")
    node = OmegaConf.select(cfg, above)
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    takes = target is not None and last in schema.signature(target)
    return f"++{line.lstrip('+')}" if has or takes else None


def _name(overrides: Sequence[str], cfg: DictConfig) -> str:
    """Such as `metacloak+jpeg`: attack, purifiers, and trainer or sampler if it was asked for."""
    choices = _choices(cfg)
    attack = "clean" if choices["attack"] == "none" else choices["attack"]
    asked = config.given(overrides)
    others = [choices[group] for group in ("trainer", "sampler") if group in asked]
    purifier = choices.get("purifier", "none")  # ~purifier chooses none
    return "+".join(word for word in (attack, purifier, *others) if word != "none")


def _choices(cfg: DictConfig) -> dict[str, str]:
    """Which option of each group; a chain of purifiers or metrics is written jpeg+sr."""
    chosen = cfg.hydra.runtime.choices
    found = {str(group): option for group, option in chosen.items() if group in catalog.groups()}
    chained = {group: chains.name(cfg, group) for group in catalog.CHAINED if cfg[group]}
    return {**chained, **{group: option for group, option in found.items() if option is not None}}
