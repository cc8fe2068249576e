"""A user's own pictures."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from diffshortcut.data.people import (
    SPLIT,
    candidates,
    check_split,
    choose,
    folders,
    images,
    read_each,
    read_sets,
    root_folder,
)
from diffshortcut.data.person import SETS, Person
from diffshortcut.errors import UserError
from diffshortcut.pictures.decode import SUFFIXES

log = logging.getLogger(__name__)


def people(
    *,
    root: str,
    people: int | list[str] | None,
    stages: str = "all",
    split: Sequence[int] = SPLIT,
) -> list[Person]:
    """The people of a folder: its own images are one person, else every sub-folder is one.

    A person's folder holds either images, which are split, or set_A, set_B, set_C; unless
    `stages` = all, one is enough and all are taken. UserError if it has too few, if the folder
    could be read both ways, or if `people` are not there.
    """
    check_split(split)
    folder = root_folder(root)
    read_one = partial(read, sizes=split) if stages == "all" else read_own
    names = [p.name for p in folders(folder) if p.name not in SETS and _is_person(p)]
    if not _is_person(folder):
        chosen = choose(names, people, str(folder))
        if len(chosen) < len(names) and stages != "all":  # nobody is to be missed unawares
            log.info("%d of %d people are taken: data.people=null for all", len(chosen), len(names))
        return read_each(read_one, [folder / name for name in chosen])
    if names:
        raise UserError(
            f"data.root: {folder} holds pictures of its own and folders of pictures (such as"
            f" {names[0]}). For one person: data.root={folder / names[0]}, or take the folders"
            " out; for a folder per person: put the loose pictures into one of their own"
        )
    chosen = choose([folder.name], people, f"{folder}, one person,")
    return read_each(read_one, [folder] * len(chosen))


def read(folder: Path, sizes: Sequence[int] = SPLIT) -> Person:
    """One person, by the layout of the folder."""
    if (folder / "set_B").is_dir():
        return read_sets(folder.name, folder)
    most, there = sum(sizes), len(candidates(folder))
    found = images(folder, most)
    _tell_others(folder)
    if there > most == len(found):
        log.info("%s: the first %d of %d images are used", folder.name, most, there)
    return split(folder.name, found, sizes)


def read_own(folder: Path) -> Person:
    """One person of whom every readable photo is taken, by the layout of the folder.

    set_A, for surrogates, is those photos themselves unless there is a folder set_A.
    """
    if (folder / "set_B").is_dir():
        return read_sets(folder.name, folder, needed=("set_B",))
    found = images(folder)
    if not found:
        raise UserError(f"{folder}: no readable image")
    _tell_others(folder)
    return Person(folder.name, found, found, ())


def split(name: str, files: tuple[Path, ...], sizes: Sequence[int] = SPLIT) -> Person:
    """Share out a person's first images, in order: `sizes` to set_A, set_B and set_C.

    With fewer than their sum, or if the first is 0, there is no set_A of its own, the clean
    originals of set_B stand in; of fewer, half, at most its size, become set_C, the others, at most
    its size, set_B.
    """
    first, second, third = sizes
    if len(files) < 2:
        raise UserError(f"{name}: {len(files)} readable images, 2 are the least")
    if first and len(files) >= sum(sizes):
        ends = (first, first + second, sum(sizes))
        return Person(name, files[: ends[0]], files[ends[0] : ends[1]], files[ends[1] : ends[2]])
    if first:
        log.info("%s: fewer than %d images, so set_A is set_B's originals", name, sum(sizes))
    references = min(third, len(files) // 2)
    protected = files[: min(second, len(files) - references)]
    return Person(name, protected, protected, files[-references:])


def _tell_others(folder: Path) -> None:
    if others := [path.name for path in sorted(folder.iterdir()) if _is_other(path)]:
        kinds = " ".join(sorted(SUFFIXES))
        log.warning("%s: left out, of no kind that is read (%s)", ", ".join(others), kinds)


def _is_other(path: Path) -> bool:
    """Whether a file that one sees is no candidate, such as a phone's .heic."""
    visible = path.is_file() and not path.name.startswith(".")
    return visible and path.suffix.lower() not in SUFFIXES


def _is_person(folder: Path) -> bool:
    return bool(candidates(folder)) or any((folder / name).is_dir() for name in SETS)
