"""A user's own pictures."""

import logging
from pathlib import Path

from diffshortcut.data.people import SETS, Person, candidates, choose, images, read_sets
from diffshortcut.errors import UserError

log = logging.getLogger(__name__)
SIZE = 4  # images in a set


def people(*, root: str, people: int | list[str] | None, class_noun: str) -> list[Person]:
    """The people of a folder: its own images are one person, else every sub-folder is one.

    A person's folder holds either images or set_A, set_B, set_C. UserError if it has too few.
    """
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        raise UserError(f"data.root: no folder {folder}")
    if _is_person(folder):
        return [read(folder, class_noun)]
    inside = (path for path in folder.iterdir() if path.is_dir())
    names = sorted(path.name for path in inside if _is_person(path))
    return [read(folder / name, class_noun) for name in choose(names, people, str(folder))]


def read(folder: Path, class_noun: str) -> Person:
    """One person, by the layout of the folder."""
    if (folder / "set_B").is_dir():
        return read_sets(folder.name, folder, class_noun)
    return split(folder.name, images(folder), class_noun)


def split(name: str, files: tuple[Path, ...], class_noun: str) -> Person:
    """Share out a person's images, sorted by name: 4 each to set_A, set_B, set_C.

    With fewer than 12 there is no set_A of its own, the clean originals of set_B stand in; half of
    the images, at most 4, become set_C, the others, at most 4, set_B.
    """
    if len(files) < 2:
        raise UserError(f"{name}: {len(files)} readable images, 2 are the least")
    if len(files) > 3 * SIZE:
        log.info("%s: the first %d of %d images are used", name, 3 * SIZE, len(files))
    if len(files) >= 3 * SIZE:
        sets = [files[i * SIZE : (i + 1) * SIZE] for i in range(3)]
        return Person(name, sets[0], sets[1], sets[2], class_noun)
    log.info("%s: fewer than %d images, so set_A is set_B's originals", name, 3 * SIZE)
    references = min(SIZE, len(files) // 2)
    protected = files[: min(SIZE, len(files) - references)]
    return Person(name, protected, protected, files[-references:], class_noun)


def _is_person(folder: Path) -> bool:
    return bool(candidates(folder)) or any((folder / name).is_dir() for name in SETS)
