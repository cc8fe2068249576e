"""Folders of people's pictures; only files that decode become part of a set. No torch."""

import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from diffshortcut.data.person import Person
from diffshortcut.decode import SUFFIXES, UNREADABLE
from diffshortcut.errors import UserError, suggest

log = logging.getLogger(__name__)
SETS = ("set_A", "set_B", "set_C")


def read_sets(name: str, folder: Path, needed: Sequence[str] = ("set_B", "set_C")) -> Person:
    """A person from set_A, set_B, set_C; without a set_A the clean originals of set_B serve.

    UserError if one of the `needed` sets has no readable image.
    """
    sets = {each: images(folder / each) for each in SETS if (folder / each).is_dir()}
    for each in needed:
        if not sets.get(each):
            raise UserError(f"{folder}: no readable image in {each}")
    if not sets.get("set_A"):
        log.info("%s: no image in set_A, so it is set_B's originals", name)
    return Person(name, sets.get("set_A") or sets["set_B"], sets["set_B"], sets.get("set_C", ()))


def images(folder: Path, most: int | None = None) -> tuple[Path, ...]:
    """The folder's readable images in order, the first `most`; the others are left out, and told.

    No file is decoded beyond those that are needed.
    """
    found: dict[str, Path] = {}
    for path in candidates(folder):
        if len(found) == most:
            break
        if reason := defect(path):
            log.warning("%s is left out: %s", path, reason)
        elif path.stem in found:
            log.warning("%s is left out: %s has its name", path, found[path.stem].name)
        else:
            found[path.stem] = path
    return tuple(found.values())


def candidates(folder: Path) -> list[Path]:
    """Files that by their suffix are images, in the order of the files that stages make of them.

    An artifact names its picture <stem>.png: `me.jpg` comes after `me.new.jpg`, as `me.png` does.
    """
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    found = (p for p in visible if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(found, key=lambda path: (f"{path.stem}.png", path.name))


def defect(path: Path) -> str | None:
    """Why a file cannot be decoded, or None."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (64, 64))  # a JPEG is then read whole but decoded small
            image.load()
    except UNREADABLE as error:
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
