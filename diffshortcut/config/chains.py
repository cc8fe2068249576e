"""Chains such as purifier=[jpeg,sr]: the links of each option, and what a chain is called."""

from collections.abc import Iterator, Sequence
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from diffshortcut.config import catalog, config
from diffshortcut.errors import UserError


def check(overrides: Sequence[str]) -> None:
    """UserError for a list of options of a group that is no chain, or for two that share a link.

    Links go by their names: Hydra would merge the two into one that is neither.
    """
    for line, group, options in _given(overrides):
        if group not in catalog.CHAINED:
            each = f"{group}={','.join(options)}"
            raise UserError(
                f"{line}: only {' and '.join(catalog.CHAINED)} are chains; a run each: -m {each}"
            )
        twice = [option for option in options if options.count(option) > 1]
        if twice:
            raise UserError(f"{line}: '{twice[0]}' is named twice")
        owner: dict[str, str] = {}
        for option in options:
            for link in _links(group, option):
                if link in owner:
                    raise UserError(f"{line}: {owner[link]} and {option} both have a link '{link}'")
                owner[link] = option


def name(cfg: DictConfig, group: str) -> str:
    """What a composed chain is called: its links, such as jpeg+sr, and presets as gridpure/legacy.

    Presets are known by the overrides only; a chain that a config file chooses goes by its links.
    """
    chains = [options for _, of, options in _given(config.written(cfg.hydra)) if of == group]
    words = [
        word
        for option in (chains[-1] if chains else ())
        for word in ([option] if "/" in option else _links(group, option))
    ]
    return "+".join(words or cfg[group])


def _given(overrides: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """The chains of a command line: as they are written, their groups, their options."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        value = override.value()
        if isinstance(value, list) and override.key_or_group in catalog.groups():
            yield str(override.input_line), override.key_or_group, [str(each) for each in value]


@cache
def _links(group: str, option: str) -> tuple[str, ...]:
    """The links that an option adds; none if there is no such option, which composing says."""
    if option not in catalog.groups()[group]:
        return ()
    return tuple(str(link) for link in config.compose([f"{group}={option}"])[group])
