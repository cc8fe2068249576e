"""The config: composing, checking, and building its nodes."""

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from diffshortcut import weights
from diffshortcut.artifacts import sources
from diffshortcut.config import catalog, frame
from diffshortcut.config.schema import STAGE_REFERENCES, check_node
from diffshortcut.errors import UserError

VALUE = re.compile(r"null|true|false|[-+.\d][-+.\d_e]*")  # what Hydra takes for no option's name
FACE = "face"  # the subject of pictures whose identities can be compared
NO_GRADIENT = (  # controls, which stand beside attacks that average over transformations
    "diffshortcut.attacks.none.NoAttack",
    "diffshortcut.attacks.random_noise.RandomNoise",
)


def compose(overrides: Sequence[str] = (), *, hydra: bool = False) -> DictConfig:
    """The composed config of a command line; inside a Hydra application or outside."""
    refuse_values(overrides)
    overrides = [*catalog.search_path(), *overrides]
    if GlobalHydra.instance().is_initialized():
        return hydra_compose("config", overrides, return_hydra_config=hydra)
    with initialize_config_dir(version_base="1.3", config_dir=str(catalog.folder())):
        return hydra_compose("config", overrides, return_hydra_config=hydra)


def given(overrides: Iterable[str]) -> dict[str, str]:
    """What the words say of each key, as they say it; of two words about one key the last holds."""
    pairs = (word.partition("=") for word in overrides)
    return {key.lstrip("+~"): value for key, equals, value in pairs if equals}


def refuse_values(overrides: Iterable[str]) -> None:
    """UserError for an override `group=null` or `group=3`, at which Hydra fails."""
    for group, option in given(overrides).items():
        if VALUE.fullmatch(option) and group in catalog.groups():
            advice = frame.choice(group, catalog.groups()[group])
            raise UserError(f"{group}={option}: leave it out, or write {advice}")


def written(hydra: Any) -> list[str]:
    """The overrides that Hydra's node holds, as they were written: `a=${b}` is no value yet."""
    return OmegaConf.to_container(hydra.overrides.task, resolve=False)  # type: ignore[return-value]


def resolve(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values; UserError naming a value that must be given."""
    try:
        resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} is missing: add {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from error
    assert isinstance(resolved, dict)
    if isinstance(runtime := resolved.get("runtime"), dict):
        for name in ("store", "outputs"):
            if isinstance(place := runtime.get(name), str):
                runtime[name] = str(Path(place).expanduser())
    return {str(key): value for key, value in resolved.items()}


def check(cfg: dict[str, Any]) -> None:
    """UserError for a wrong key, value or target anywhere, or for weights of another zoo."""
    if found := _nearest(cfg, lambda value: not frame.is_finite(value)):
        raise UserError(f"{found[0]} must be finite, not {found[1]}")
    if found := _nearest(cfg, _is_no_micro_batch, of="micro_batch"):
        raise UserError(
            f"{found[0]} must be a number of images from 1, or null: all; not {found[1]}"
        )
    frame.check(cfg, catalog.groups())
    check_node(cfg, "")
    _check_subject(cfg)
    _check_surrogates(cfg)
    _check_eot(cfg)
    zoo = cfg["zoo"]["name"]
    if found := _nearest(cfg, lambda value: weights.scheme(value) not in (None, "file", zoo)):
        raise UserError(f"{found[0]}={found[1]} cannot be used with zoo={zoo}")


def _check_subject(cfg: dict[str, Any]) -> None:
    """UserError for a metric that compares faces, of pictures that are said to show none."""
    subject = cfg.get("prompts", {}).get("subject", FACE)
    if cfg["stages"] != "all" or subject == FACE:
        return
    for where, value in leaves(cfg.get("metric") or {}):
        if ".recognizer" not in where or value is None:
            continue
        raise UserError(
            f"metric.{where.partition('.')[0]} compares faces, and prompts.subject={subject} says"
            " that there are none: write such as metric=[style,quality], or"
            f" prompts.subject={FACE} if there are"
        )


def _check_surrogates(cfg: dict[str, Any]) -> None:
    """UserError for a surrogate that an ensemble attack, which names its own, would not look at."""
    ensemble = (cfg.get("attack") or {}).get("surrogates")
    if ensemble and cfg.get("surrogate") != cfg.get("model"):
        raise UserError(
            f"surrogate=...: this attack trains attack.surrogates ({', '.join(ensemble)}) instead;"
            f" in its place leave one out by ~attack.surrogates.{next(iter(ensemble))}"
        )


def _check_eot(cfg: dict[str, Any]) -> None:
    """UserError for transformations beside an attack that takes none, unless it climbs nothing."""
    attack = cfg.get("attack") or {}
    if cfg.get("eot") and "eot" not in attack and attack.get("_target_") not in NO_GRADIENT:
        raise UserError(
            "eot=...: the attack has no key eot, so nothing would be transformed: write"
            " eot: ${eot} into its yaml, or leave eot=... out"
        )


def _is_no_micro_batch(value: Any) -> bool:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value is not None and not (is_number and value >= 1)


def _nearest(
    cfg: dict[str, Any], wrong: Callable[[Any], bool], *, of: str = ""
) -> tuple[str, Any] | None:
    """The wrong value that stands least deep, others interpolate it; `of` a key if one is named."""
    found = [
        (where, value)
        for where, value in leaves(cfg)
        if wrong(value) and of in ("", where.rpartition(".")[2])
    ]
    return min(found, key=lambda item: item[0].count("."), default=None)


def leaves(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a config with its dotted name."""
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            yield from leaves(child, f"{where}.{key}" if where else str(key))
    else:
        yield where, node


def references(node: Any) -> set[str]:
    """The weights that a config names, such as mini:vae."""
    return {value for _, value in leaves(node) if weights.scheme(value)}


def build(node: dict[str, Any], where: str = "") -> Any:
    """The object a node describes; UserError for a value or a file that its target cannot take."""
    try:
        return instantiate(node, _convert_="all")
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if isinstance(cause, UserError):  # what was said of what is below it
            raise cause from None
        if isinstance(cause, OSError) and cause.filename:
            raise UserError(f"{cause.filename}: {cause.strerror}") from error
        if isinstance(cause, ValueError | OSError):
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
    module, _ = sources.module_file(target) or ("builtins", None)
    return getattr(importlib.import_module(module), target.rpartition(".")[2], None)
