"""The config: where it is, what can be chosen, composing, checking, and building its nodes."""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from diffshortcut import keys, weights
from diffshortcut.errors import UserError, suggest
from diffshortcut.schema import STAGE_REFERENCES, check_node, plugins

PACKAGE = Path(__file__).parent
DEVICES = ("auto", "cpu", "cuda")
ROOT = ("prior", "surrogate_prior", "compare", "scale")
FRAME: dict[str, type] = {
    "seed": int,
    "runtime.store": str,
    "runtime.outputs": str,
    "runtime.device": str,
    "runtime.threads": int,
    "runtime.fail_fast": bool,
    "prompts.identifier": str,
    "prompts.class_noun": str,
    "prompts.noise_token": str,
}


@cache
def folder() -> Path:
    """The config's folder: inside the wheel, or beside the package in a checkout."""
    inside = PACKAGE / "_conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


@cache
def roots() -> tuple[Path, ...]:
    """The folders of config groups: ours, then `conf` of every plug-in."""
    specs = (find_spec(name) for name in plugins())
    packages = (Path(p) for s in specs if s for p in s.submodule_search_locations or ())
    return (folder(), *(p / "conf" for p in packages if (p / "conf").is_dir()))


def groups() -> dict[str, list[str]]:
    """Every config group with all its options, nested presets such as `gaussian/legacy` too."""
    found: dict[str, set[str]] = {}
    for root in roots():
        for file in root.glob("*/**/*.yaml"):
            group, *option = file.relative_to(root).with_suffix("").parts
            if group != "hydra":
                found.setdefault(group, set()).add("/".join(option))
    return {group: sorted(options) for group, options in sorted(found.items())}


def search_path() -> list[str]:
    """The override that shows the plug-ins' config folders to Hydra."""
    extra = [f"file://{root}" for root in roots()[1:]]
    return [f"hydra.searchpath=[{','.join(extra)}]"] if extra else []


def compose(overrides: Sequence[str] = (), *, hydra: bool = False) -> DictConfig:
    """The composed config of a command line; inside a Hydra application or outside."""
    overrides = [*search_path(), *overrides]
    if GlobalHydra.instance().is_initialized():
        return hydra_compose("config", overrides, return_hydra_config=hydra)
    with initialize_config_dir(version_base="1.3", config_dir=str(folder())):
        return hydra_compose("config", overrides, return_hydra_config=hydra)


def resolve(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values; UserError naming a value that must be given."""
    try:
        resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is missing: add {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def check(cfg: dict[str, Any]) -> None:
    """UserError for a wrong key, type or target anywhere, or for weights of another zoo."""
    _check_frame(cfg)
    check_node(cfg, "")
    zoo = cfg["zoo"]["name"]
    foreign = [(w, v) for w, v in leaves(cfg) if weights.scheme(v) not in (None, "file", zoo)]
    if foreign:
        where, value = min(foreign, key=lambda found: found[0].count("."))
        raise UserError(f"{where}={value} cannot be used with zoo={zoo}")


def _check_frame(cfg: dict[str, Any]) -> None:
    known = {*groups(), *ROOT, *(name.partition(".")[0] for name in FRAME)}
    if unknown := sorted(cfg.keys() - known):
        raise UserError(f"the config has no key '{unknown[0]}'.{suggest(unknown[0], known)}")
    for name, kind in FRAME.items():
        value = _at(cfg, name)
        if type(value) is not kind:
            raise UserError(f"{name} must be {kind.__name__}, not {value!r}")
    for name, value in cfg["scale"].items():
        if type(value) not in (int, float):
            raise UserError(f"scale.{name} must be a number, not {value!r}")
    if cfg["runtime"]["threads"] < 1:
        raise UserError("runtime.threads must be at least 1")
    if (device := cfg["runtime"]["device"]) not in DEVICES:
        raise UserError(f"runtime.device: {device!r} is none of {', '.join(DEVICES)}")


def leaves(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a config with its dotted name."""
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            yield from leaves(child, f"{where}.{key}" if where else str(key))
    else:
        yield where, node


def build(node: dict[str, Any], where: str = "") -> Any:
    """The object a node describes; what its target finds wrong with a value is a UserError."""
    try:
        return instantiate(node, _convert_="all")
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError):
            raise UserError(f"{where or node['_target_']}: {cause}") from error
        raise


def check_values(node: Any, where: str) -> None:
    """Let every dataclass in a node judge its own values, without building what is inside it."""
    if isinstance(node, list):
        for child in node:
            check_values(child, where)
    if not isinstance(node, dict):
        return
    for key, child in node.items():
        check_values(child, f"{where}.{key}")
    target = _imported(node["_target_"]) if "_target_" in node else None
    if is_dataclass(target) and isinstance(target, type):
        skip = {"_target_", *STAGE_REFERENCES}
        try:
            target(**{key: value for key, value in node.items() if key not in skip})
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error
        except (TypeError, AttributeError, KeyError):
            pass  # it looks into a part of it, which is not built here


def _imported(target: str) -> Any:
    module, _ = keys.module_file(target) or ("builtins", None)
    return getattr(importlib.import_module(module), target.rpartition(".")[2], None)


def _at(cfg: dict[str, Any], name: str) -> Any:
    value: Any = cfg
    for part in name.split("."):
        value = value[part]
    return value
