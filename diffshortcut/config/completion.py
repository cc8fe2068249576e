"""Shell completion: Hydra's, which also knows nested presets, plug-ins and chains.

eval "$(diffshortcut -sc install=bash)"     (or zsh, fish), then: diffshortcut attack=aspl/<TAB>
"""

import re
from collections.abc import Sequence

from hydra.plugins.completion_plugin import CompletionPlugin

from diffshortcut.config import catalog

ASKED = ("-sc", "--shell-completion")
_hydras = CompletionPlugin._query_config_groups  # the one place that all shells share


def extend() -> None:
    """Let every shell's completion offer all options of a group, not only those of its folder."""
    CompletionPlugin._query_config_groups = _query  # type: ignore


def options(word: str) -> list[str] | None:
    """What `group=...` may become, also within a chain or a sweep; None for other words."""
    begun = re.fullmatch(r"([+~]*)([\w/]+)(=)(\[?(?:[\w/]+,)*)([\w/]*)", word)
    if not begun or begun[2] not in (groups := catalog.groups()):
        return None
    said, last = "".join(begun.groups()[:4]), begun[5]
    chosen = set(re.findall(r"[\w/]+", begun[4]))
    offered = (option for option in groups[begun[2]] if option.startswith(last))
    return [said + option for option in offered if option not in chosen]


def _query(
    plugin: CompletionPlugin, word: str, config_name: str | None, words: Sequence[str]
) -> tuple[list[str], bool]:
    """Groups that are not begun with an = are offered as `group=`."""
    begun = word.lstrip("+~")
    if begun.startswith("hydra"):
        return _hydras(plugin, word, config_name, list(words))
    found = options(word)
    if found is not None:
        return found, True
    mark = word.removesuffix(begun)
    return [f"{mark}{group}=" for group in catalog.groups() if group.startswith(begun)], False
