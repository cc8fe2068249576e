"""Loaded models, kept for the next stage of this process until room is needed."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

Loader = TypeVar("Loader", bound=Callable[..., Any])
_loaders: list[Any] = []


def remembered(load: Loader) -> Loader:
    """Loads once for equal arguments, of which the device is one."""
    kept = cache(load)
    _loaders.append(kept)
    return kept  # type: ignore[return-value]


def forget() -> None:
    """Let go of all that was loaded."""
    for kept in _loaders:
        kept.cache_clear()
