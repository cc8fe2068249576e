"""What a config may make Hydra itself import: a config file is data, and may come from anybody.

The targets of our own nodes are checked in schema.py; these are those of Hydra's nodes, which it
builds before our code is asked: launcher, sweeper, callbacks, and what its logging is made of.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig, OmegaConf

from diffshortcut.config import catalog, config, schema, sweep
from diffshortcut.config.usage import CONFIG_ERRORS
from diffshortcut.errors import UserError

HYDRA = ("hydra", "hydra_plugins")  # packages whose classes Hydra may build
LOGGING = {
    *("logging.Formatter", "logging.Filter"),
    *("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler"),
    *("logging.handlers.RotatingFileHandler", "logging.handlers.TimedRotatingFileHandler"),
    *("colorlog.ColoredFormatter", "rich.logging.RichHandler", "diffshortcut.progress.Lines"),
}
STREAMS = {"ext://sys.stdout", "ext://sys.stderr"}  # what logging may look up by itself
OUTPUT = "${hydra.runtime.output_dir}/"  # how Hydra's own logging begins the name of its file
MAKERS = ("_target_", "()", "class")  # keys whose value Hydra or logging imports and calls
REPLACING = ("config_path", "config_name", "config_dir", "experimental_rerun")


def words(arguments: Sequence[str]) -> list[str]:
    """The overrides of a command line, as Hydra takes them from among its flags.

    UserError for a flag that has Hydra read another config than the one that is looked at here.
    """
    given = get_args_parser().parse_intermixed_args(list(arguments))
    for name in REPLACING:
        if getattr(given, name):
            raise UserError(
                f"--{name.replace('_', '-')} is not taken: add a folder of configs with"
                " hydra.searchpath=[file://FOLDER], or name its package in DIFFSHORTCUT_PLUGINS"
            )
    return list(given.overrides)


def check(overrides: Sequence[str]) -> None:
    """UserError naming the first thing in Hydra's own config that is not to be imported.

    Looked at are the config without what a sweep varies, and that with each option it varies.
    """
    parser = OverridesParser.create()
    parsed = parser.parse_overrides(list(overrides))
    fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
    cfg = config.compose(fixed, hydra=True)
    _look(cfg)
    listed = (cfg.hydra.sweeper.get("params") or {}).items()
    varied = parser.parse_overrides([f"{key}={value}" for key, value in listed])
    varied += [o for o in parsed if o.is_sweep_override()]
    try:
        for option in _options(varied):
            _look(config.compose([*fixed, option], hydra=True))
    except CONFIG_ERRORS:  # it cannot be chosen alone: maybe beside others
        for job in sweep.expand(["--multirun", *overrides]).jobs:
            with suppress(*CONFIG_ERRORS):
                _look(config.compose(job, hydra=True))


def _options(overrides: Iterable[Override]) -> Iterator[str]:
    """Each option of a group that a sweep varies, as an override."""
    groups = catalog.groups()
    for override in overrides:
        group, value = override.key_or_group, override.value()
        key = str(override.input_line).partition("=")[0]
        if group not in groups:
            continue
        if isinstance(value, Glob):
            yield from (f"{key}={name}" for name in value.filter(groups[group]))
        elif override.is_sweep_override():
            yield from (f"{key}={name}" for name in override.sweep_string_iterator())
        else:
            yield str(override.input_line)


def _look(cfg: DictConfig) -> None:
    for name in ("hydra.run.dir", "hydra.sweep.dir"):  # what OUTPUT becomes
        if str(OmegaConf.select(cfg, name)).startswith("ext:"):
            raise UserError(f"{name} is no folder")
    own = OmegaConf.to_container(OmegaConf.masked_copy(cfg, ["hydra"]), resolve=False)
    for where, value in config.leaves(own):
        is_made = where.rpartition(".")[2] in MAKERS and value is not None
        if (is_made and not _is_allowed(str(value))) or (
            "_logging." in where and _is_sought(value)
        ):
            raise UserError(
                f"{where}={value} is not to be imported"
                " (name its package in DIFFSHORTCUT_PLUGINS to trust it)"
            )


def _is_sought(value: Any) -> bool:
    """Whether logging would import what a string names, or cannot be known not to."""
    if not isinstance(value, str) or value in STREAMS or value.startswith(OUTPUT):
        return False
    return value.startswith("ext:") or "${" in value


def _is_allowed(name: str) -> bool:
    """Whether a dotted name is what it looks like: not found by a walk through other modules."""
    package = name.partition(".")[0]
    if package in schema.plugins():
        schema.signature(name)
        return True
    return name in LOGGING or (package in HYDRA and _is_class(name))


def _is_class(name: str) -> bool:
    """Whether a class is defined where its dotted name says."""
    module, _, last = name.rpartition(".")
    if not re.fullmatch(r"[A-Z]\w*", last):
        return False
    try:
        spec = find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return False
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return False
    body = ast.parse(Path(spec.origin).read_text()).body
    return any(isinstance(s, ast.ClassDef) and s.name == last for s in body)
