"""Loaded models, kept for the next stage of this process until room is needed."""

from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar

from diffshortcut import weights
from diffshortcut.errors import UserError

Loader = TypeVar("Loader", bound=Callable[..., Any])
_loaders: list[Any] = []


def remembered(load: Loader) -> Loader:
    """Loads once for equal arguments, of which the device is one, and unchanged files.

    The first argument is the weights: their place or their reference.
    """
    kept = cache(lambda state, *arguments: load(*arguments))

    @wraps(load)
    def loaded(place: Path | str, *others: Any) -> Any:
        return kept(_state(place), place, *others)

    _loaders.append(kept)
    return loaded  # type: ignore[return-value]


def _state(place: Path | str) -> weights.State:
    try:
        return weights.state(weights.locate(place) if isinstance(place, str) else place)
    except UserError:  # the loader says it, or first that a package is missing
        return ()


def forget() -> None:
    """Let go of all that was loaded."""
    for kept in _loaders:
        kept.cache_clear()
