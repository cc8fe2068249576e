"""The frame of the config: its values that no target's signature describes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from diffshortcut.config.schema import fits
from diffshortcut.errors import UserError, suggest

PRIOR = {"model": "Node", "prompt": "str", "images": "int", "steps": "int", "guidance": "float"}
PRIOR |= {"micro_batch": "int | None"}
TYPES = {  # as annotations; a Node has a _target_
    "seed": "int",
    "stages": "str",
    "zoo.name": "str",
    "zoo.resolution": "int",
    **dict.fromkeys(("model", "surrogate", "data", "attack", "trainer", "sampler"), "Node"),
    "precision": "Node",
    **{f"prior.{key}": kind for key, kind in PRIOR.items()},
    **{f"surrogate_prior.{key}": kind for key, kind in PRIOR.items()},
    "eot": "Node | None",
    "crop": "Node | None",
    "checkpoint.minutes": "float",
    "compare.clean": "str | None",
    "compare.arms": "list",
    "compare.claims": "list",
    "compare.family": "int | None",
    "compare.pairs": "list[tuple[str, str]]",
    "compare.worst": "dict[str, list[str]]",
    "logger.name": "str",
    "logger.project": "str",
    "logger.timeout": "float",
    "logger.group": "str | None",
    "runtime.store": "str",
    "runtime.outputs": "str",
    "runtime.device": "str",
    "runtime.threads": "int",
    "runtime.largest_kept": "float | None",
    "runtime.fail_fast": "bool",
    "runtime.confirm": "bool",
}
OPTIONAL = {"logger.project", "logger.timeout", "logger.group"}  # of a logger
CLOSED = ("prior", "surrogate_prior", "checkpoint", "compare", "logger", "runtime")  # no other keys
OPEN = {"purifier": "Node", "metric": "Node", "scale": "float", "prompts": "str"}  # any keys
CHOICES = {
    "stages": ("all", "protect", "purify"),
    "runtime.device": ("auto", "cpu", "cuda"),
    "logger.name": ("none", "wandb"),
}
EXAMPLES = {
    "compare.arms": "[{name: sharp, overrides: [purifier=sr]}]",
    "compare.claims": "[{metric: ims, arm: ours, rivals: [jpeg]}]",
    "compare.pairs": "[[ours, jpeg]]",
    "compare.worst": "{adaptive: [ours, jpeg]}",
}
LEAST = {
    "zoo.resolution": 8,
    "prior.images": 1,
    "prior.steps": 1,
    "prior.guidance": 0,
    "surrogate_prior.images": 1,
    "surrogate_prior.steps": 1,
    "surrogate_prior.guidance": 0,
    "checkpoint.minutes": 0,
    "logger.timeout": 1,
    "runtime.threads": 1,
    "runtime.largest_kept": 0,
}
ABSENT = object()


def check(cfg: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> None:
    """UserError for the first key, type or value that is wrong; `groups` with their options."""
    known = {*groups, *OPEN, *(name.partition(".")[0] for name in TYPES)}
    _check_keys(cfg, known, "the config")
    needed = OPTIONAL if _at(cfg, "logger.name") == "wandb" else set()
    for name, kind in TYPES.items():
        value = _at(cfg, name)
        if value is not ABSENT:
            _check_value(name, value, kind, groups)
        elif name in needed or name not in OPTIONAL:
            raise UserError(f"{name} is missing: write {choice(name, groups.get(name, ['...']))}")
    for part in CLOSED:
        inside = {name.partition(".")[2] for name in TYPES if name.startswith(f"{part}.")}
        _check_keys(cfg[part], inside, part)
    for part, kind in OPEN.items():
        for key, value in cfg.get(part, {}).items():
            _check_value(f"{part}.{key}", value, kind, groups)


def is_finite(value: Any) -> bool:
    """Whether a value is neither NaN nor infinite; what is no number is finite."""
    return not isinstance(value, float) or math.isfinite(value)


def choice(name: str, options: Sequence[str]) -> str:
    """What to write for a value that must be given: `none` if that is an option, else any."""
    return f"{name}=none" if "none" in options else f"{name}={' or '.join(options)}"


def _check_keys(node: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(node.keys() - known):
        raise UserError(f"{where} has no key '{unknown[0]}'.{suggest(unknown[0], known)}")


def _check_value(name: str, value: Any, kind: str, groups: Mapping[str, Sequence[str]]) -> None:
    if not fits(value, kind):
        meant = _node(name, value, groups) if kind.startswith("Node") else kind
        example = f" such as {EXAMPLES[name]}" if name in EXAMPLES else ""
        raise UserError(f"{name} must be {meant}{example}, not {value!r}")
    if name in LEAST and value is not None and value < LEAST[name]:
        raise UserError(f"{name} must be at least {LEAST[name]}, not {value}")
    if name in CHOICES and value not in (options := CHOICES[name]):
        close = suggest(value, options)
        raise UserError(f"{name}: {value!r} is none of {', '.join(options)}.{close}")


def _node(name: str, value: Any, groups: Mapping[str, Sequence[str]]) -> str:
    """Where a node comes from; the option shown is the one that seems to be meant, or any."""
    group, _, link = name.partition(".")
    options = groups.get(group)
    if not options:
        return "a node with _target_"
    candidates = [*(one for one in (value, link) if one in options), *options]
    option = next(one for one in candidates if one != "none")
    choose = f"{group}={option}; in a yaml `- override /{group}: {option}`"
    return f"an option of {group} ({choose}) or a node with _target_"


def _at(cfg: Any, name: str) -> Any:
    for part in name.split("."):
        cfg = cfg.get(part, ABSENT) if isinstance(cfg, Mapping) else ABSENT
    return cfg
