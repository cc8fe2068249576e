"""People and their pictures; only files that decode become part of a set. No torch."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from diffshortcut.errors import UserError, suggest

log = logging.getLogger(__name__)
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
SETS = ("set_A", "set_B", "set_C")


@dataclass(frozen=True)
class Person:
    """Who is in the pictures; the sets are named as in Anti-DreamBooth."""

    name: str
    set_A: tuple[Path, ...]  # noqa: N815  # clean, for surrogates
    set_B: tuple[Path, ...]  # noqa: N815  # to be protected
    set_C: tuple[Path, ...]  # noqa: N815  # references for the scores
    class_noun: str = "person"

    def digest(self, sets: Sequence[str]) -> str:
        """sha256 over the names and bytes of the pictures in `sets`, wherever they are."""
        total = hashlib.sha256()
        for name in sets:
            for path in getattr(self, name):
                state = path.stat()
                content = _digest(path, state.st_size, state.st_mtime_ns)
                total.update(f"{name}/{path.name}\0{content}\n".encode())
        return total.hexdigest()


@cache
def _digest(path: Path, size: int, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_sets(name: str, folder: Path, class_noun: str) -> Person:
    """A person from set_A, set_B, set_C; without a set_A the clean originals of set_B serve."""
    sets = {each: images(folder / each) for each in SETS if (folder / each).is_dir()}
    for needed in ("set_B", "set_C"):
        if not sets.get(needed):
            raise UserError(f"{folder}: no readable image in {needed}")
    clean = sets.get("set_A") or sets["set_B"]
    return Person(name, clean, sets["set_B"], sets["set_C"], class_noun)


def images(folder: Path) -> tuple[Path, ...]:
    """The folder's readable images sorted by name; the others are reported and left out."""
    found: dict[str, Path] = {}
    for path in candidates(folder):
        if reason := defect(path):
            log.warning("%s is left out: %s", path, reason)
        elif path.stem in found:
            log.warning("%s is left out: %s has its name", path, found[path.stem].name)
        else:
            found[path.stem] = path
    return tuple(found.values())


def candidates(folder: Path) -> list[Path]:
    """Files that by their suffix are images, sorted by name."""
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(p for p in visible if p.suffix.lower() in SUFFIXES and p.is_file())


def defect(path: Path) -> str | None:
    """Why a file cannot be decoded, or None."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (64, 64))  # a JPEG is then read whole but decoded small
            image.load()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        return str(error).removesuffix(f" {str(path)!r}") or type(error).__name__
    return None


def choose(names: Sequence[str], people: int | list[str] | None, where: str) -> list[str]:
    """The first n of `names`, those listed, or all; UserError if they are not there."""
    if not names:
        raise UserError(f"{where}: no images")
    if isinstance(people, list):
        return [_known(name, names) for name in dict.fromkeys(people)]
    if people is None:
        return list(names)
    if not 1 <= people <= len(names):
        raise UserError(f"data.people={people}: {where} has 1 to {len(names)}")
    return list(names[:people])


def _known(name: str, names: Sequence[str]) -> str:
    if name not in names:
        close = suggest(name, names)
        raise UserError(f"data.people: no '{name}'.{close} There are: {', '.join(names)}")
    return name
