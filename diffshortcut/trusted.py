"""What a config may make Hydra itself import: a config file is data, and may come from anybody.

The targets of our own nodes are checked in schema.py; these are those of Hydra's nodes, which it
builds before our code is asked: launcher, sweeper, callbacks, and what its logging is made of.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from diffshortcut import config
from diffshortcut.errors import UserError
from diffshortcut.schema import plugins

HYDRA = ("hydra._internal.", "hydra_plugins.", "hydra.experimental.callbacks.")
LOGGING = ("logging.", "colorlog.", "rich.logging.")
MAKERS = ("_target_", "()", "class")  # keys whose value Hydra or logging imports and calls


def check(overrides: Sequence[str]) -> None:
    """UserError naming the first thing in Hydra's own config that is not to be imported."""
    for words in _experiments(overrides):
        cfg = OmegaConf.masked_copy(config.compose(words, hydra=True), ["hydra"])
        for where, value in config.leaves(OmegaConf.to_container(cfg, resolve=False)):
            if where.rpartition(".")[2] in MAKERS and not _is_allowed(value):
                raise UserError(
                    f"{where}={value} is not to be imported"
                    " (name its package in DIFFSHORTCUT_PLUGINS to trust it)"
                )


def _is_allowed(value: Any) -> bool:
    packages = tuple(f"{name}." for name in ("diffshortcut", *plugins()))
    return value is None or str(value).startswith((*HYDRA, *LOGGING, *packages))


def _experiments(overrides: Sequence[str]) -> Iterator[list[str]]:
    """The overrides without what a sweep varies, with each of the experiments that it names."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
    swept = [o for o in parsed if o.is_sweep_override() and o.key_or_group == "experiment"]
    if not swept:
        yield fixed
    for override in swept:
        for name in override.sweep_string_iterator():
            yield [*fixed, f"experiment={name}"]
