"""A person and the pictures that belong to him or her.

Every stage's key holds this module's source, so what only reads folders stays out of it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SETS = ("set_A", "set_B", "set_C")  # as in Anti-DreamBooth


@dataclass(frozen=True)
class Person:
    """Who is in the pictures, in three sets."""

    name: str
    set_A: tuple[Path, ...]  # noqa: N815  # clean, for surrogates
    set_B: tuple[Path, ...]  # noqa: N815  # to be protected
    set_C: tuple[Path, ...]  # noqa: N815  # references for the scores

    @property
    def one_set(self) -> bool:
        """Whether set_A is set_B's originals, or copies of them: equal names and bytes."""
        return self._contents("set_A") == self._contents("set_B")

    def digest(self, sets: Sequence[str]) -> str:
        """sha256 over the names and bytes of the pictures in `sets`, wherever they are."""
        total = hashlib.sha256()
        for name in sets:
            for file, content in self._contents(name):
                total.update(f"{name}/{file}\0{content}\n".encode())
        return total.hexdigest()

    def _contents(self, name: str) -> list[tuple[str, str]]:
        states = ((path, path.stat()) for path in getattr(self, name))
        return [(p.name, _digest(p, state.st_size, state.st_mtime_ns)) for p, state in states]


@cache
def _digest(path: Path, size: int, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
