"""The arms of a comparison: the command line itself, and the same with other overrides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from diffshortcut import config, keys
from diffshortcut.errors import UserError


@dataclass(frozen=True)
class Arm:
    """A named cell of the comparison with its resolved config."""

    name: str
    config: dict[str, Any]

    def content(self) -> str:
        """What tells arms apart, whatever their names."""
        return keys.digest({key: node for key, node in self.config.items() if key != "compare"})


def compose(overrides: Sequence[str]) -> list[Arm]:
    """The checked arms of `compare.arms`, each once; the command line's own arm is the last."""
    cfg = config.compose(overrides, hydra=True)
    main = _resolve(cfg)
    listed = [_listed(item, overrides) for item in main["compare"]["arms"]]
    distinct: dict[str, Arm] = {}
    for arm in listed:
        distinct.setdefault(arm.content(), arm)
    own = Arm(_name(overrides, cfg), main)
    own = distinct.pop(own.content(), own)
    arms = [*distinct.values(), own]
    names = [arm.name for arm in arms]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"compare.arms: two different arms are called '{twice.pop()}'")
    return arms


def _resolve(cfg: DictConfig) -> dict[str, Any]:
    resolved = config.resolve(OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"]))
    config.check(resolved)
    return resolved


def _listed(item: Any, overrides: Sequence[str]) -> Arm:
    match item:
        case {"name": str(name), "overrides": [*own]} if all(isinstance(o, str) for o in own):
            return Arm(name, _resolve(_with(overrides, own)))
    raise UserError(f"compare.arms: {item!r} is not {{name: ..., overrides: [...]}}")


def _with(overrides: Sequence[str], own: Sequence[str]) -> DictConfig:
    """Compose `overrides`, then an arm's own.

    Where the arm chooses another option of a group, what was said about that group's keys holds
    for the arm too, as far as it has such keys: a radius reaches every attack but `none`.
    """
    parser = OverridesParser.create()
    named = {o.get_key_element() for o in parser.parse_overrides(list(own))}
    chosen = named & config.groups().keys()
    about: list[Override] = []
    kept: list[str] = []
    for override in parser.parse_overrides(list(overrides)):
        group, _, key = override.get_key_element().partition(".")
        if key and group.lstrip("+~") in chosen:
            about.append(override)
        else:
            kept.append(str(override.input_line))
    cfg = config.compose([*kept, *own])
    missing = object()
    fitting = [
        str(o.input_line)
        for o in about
        if OmegaConf.select(cfg, o.key_or_group, default=missing) is not missing
    ]
    return config.compose([*kept, *own, *fitting]) if fitting else cfg


def _name(overrides: Sequence[str], cfg: DictConfig) -> str:
    """Such as `metacloak+jpeg`: attack, purifiers, and trainer or sampler if it was asked for."""
    choices = cfg.hydra.runtime.choices
    attack = "clean" if choices.attack == "none" else choices.attack
    purifiers = [choices.purifier] if "purifier" in choices else list(cfg.purifier)
    asked = {o.partition("=")[0] for o in overrides}
    others = [choices[group] for group in ("trainer", "sampler") if group in asked]
    return "+".join(word for word in (attack, *purifiers, *others) if word != "none")
