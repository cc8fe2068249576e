"""Folders of people's pictures; only files that decode become part of a set. No torch."""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from diffshortcut.data.person import SETS, Person
from diffshortcut.errors import UserError, listed
from diffshortcut.pictures.decode import SUFFIXES

log = logging.getLogger(__name__)
LEAST = 8  # pixels a side: filters reflect what lies beside a border
SPLIT = (4, 4, 4)  # Anti-DreamBooth's pictures in each of them
SERIES = {".png", ".webp", ".tif", ".tiff"}  # may hold more than one picture; a .jpg's are copies


@dataclass(frozen=True)
class Prompted(Person):
    """A person with prompts that replace the sampler's, unless there are none."""

    prompts: tuple[str, ...] = ()


class PeopleError(UserError):
    """Of whom and why: `reasons`; `read` are the people who can be read."""

    def __init__(self, read: list[Person], reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.read, self.reasons = read, reasons

    def __reduce__(self) -> tuple[type["PeopleError"], tuple[list[Person], list[str]]]:
        return type(self), (self.read, self.reasons)  # from a job in another process


def read_each(read: Callable[[Path], Person], places: Sequence[Path]) -> list[Person]:
    """Every person, read from his or her folder; PeopleError if that fails for any."""
    found: list[Person] = []
    reasons: list[str] = []
    for place in places:
        try:
            found.append(read(place))
        except UserError as error:
            reasons.append(str(error))
    if reasons:
        raise PeopleError(found, reasons)
    return found


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


def root_folder(root: str) -> Path:
    """What data.root names, with a name of its own even if that is `..`."""
    folder = Path(os.path.abspath(Path(root).expanduser()))
    if not folder.is_dir():
        raise UserError(f"data.root: no folder {shown(folder)}")
    return folder


def check_split(split: Sequence[int]) -> None:
    """UserError unless it is three numbers, of which the first may be 0."""
    if len(split) != 3 or split[0] < 0 or min(split[1:]) < 1:
        given = ",".join(map(str, split))
        raise UserError(
            f"data.split=[{given}]: three numbers, of set_A (may be 0), set_B and set_C"
        )


def members(
    root: str, is_one: Callable[[Path], bool], people: int | list[str] | None, layout: str
) -> list[Path]:
    """The chosen folders of data.root that are laid out as `is_one` says, or data.root itself."""
    place = root_folder(root)
    if is_one(place):
        return [place for _ in choose([place.name], people, f"{place}, one folder,")]
    found = {path.name: path for path in folders(place) if is_one(path)}
    if others := [path.name for path in folders(place) if path.name not in found]:
        log.info("%s: left out, without %s", ", ".join(others), layout)
    if not found:
        raise UserError(f"{place}: no folder in it has {layout}")
    return [found[name] for name in choose(list(found), people, str(place))]


def folders(place: Path) -> list[Path]:
    """The visible folders in a folder, by name; one that cannot be used is left out, and told."""
    above = {place.resolve(), *place.resolve().parents}
    found = []
    for path in sorted(place.iterdir()):
        if path.name.startswith(".") or not path.is_dir():
            continue
        if path.resolve() in above:
            log.warning("%s is left out: it leads back to a folder that it is in", shown(path))
        elif not _is_plain(path.name):
            log.warning("%s is left out: rename it, its name is no plain text", shown(path))
        else:
            found.append(path)
    return found


def images(folder: Path, most: int | None = None) -> tuple[Path, ...]:
    """The folder's readable images in order, the first `most`; the others are left out, and told.

    No file is decoded beyond those that are needed.
    """
    found: dict[str, Path] = {}
    for path in _entries(folder):
        if len(found) == most:
            break
        if reason := _no_file(path) or defect(path):
            log.warning("%s is left out: %s", shown(path), reason)
        elif path.stem in found:
            log.warning("%s is left out: %s has its name", path, found[path.stem].name)
        else:
            found[path.stem] = path
            if path.suffix.lower() in SERIES and (count := _frames(path)) > 1:
                log.warning("%s: the first of its %d pictures is used", path, count)
    return tuple(found.values())


def candidates(folder: Path) -> list[Path]:
    """Files that by their suffix are images, in the order of the files that stages make of them.

    An artifact names its picture <stem>.png: `me.jpg` comes after `me.new.jpg`, as `me.png` does.
    """
    return [path for path in _entries(folder) if path.is_file()]


def _entries(folder: Path) -> list[Path]:
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    found = (path for path in visible if path.suffix.lower() in SUFFIXES)
    return sorted(found, key=lambda path: (f"{path.stem}.png", path.name))


def _no_file(path: Path) -> str | None:
    """Why an entry is no file, or has a name that no record can hold; None if it is one."""
    if path.is_dir():
        return "it is a folder"
    if not path.is_file():
        return "it is no regular file" if path.exists() else "it is a link to nothing"
    return None if _is_plain(path.name) else "rename it, its name is no plain text"


def defect(path: Path) -> str | None:
    """Why a file cannot be decoded or used, or None."""
    try:
        if path.stat().st_size == 0:
            return "it is empty"
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if min(image.size) < LEAST:
                return f"it is {image.width} x {image.height} pixels, {LEAST} a side are the least"
            image.draft("RGB", (64, 64))  # a JPEG is then read whole but decoded small
            picture = ImageOps.exif_transpose(image)
            if not picture.mode.startswith("I"):  # of 16 bits, which decode.py widens itself
                picture.convert("RGB")
    except Exception as error:  # a damaged file makes decoders raise anything
        text = str(error).removesuffix(f" {str(path)!r}") or type(error).__name__
        return shown(text.partition("\n")[0])
    return None


def _frames(path: Path) -> int:
    """How many pictures a readable file holds, as far as that can be told."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            return getattr(image, "n_frames", 1)
    except Exception:
        return 1  # only the first one is in order, and that is used


def shown(text: Path | str) -> str:
    """In one line and of letters that any terminal takes: others are written as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def _is_plain(name: str) -> bool:
    """Whether a name has neither control characters nor bytes that are no UTF-8."""
    return shown(name) == name


def choose(names: Sequence[str], people: int | list[str] | None, where: str) -> list[str]:
    """The first n of `names`, those listed, or all; UserError if they are not there."""
    if not names:
        raise UserError(f"{where}: no images")
    if people == []:
        raise UserError(f"data.people=[] names nobody: {where} has {', '.join(names)}")
    if isinstance(people, list):
        return [_known(name, names) for name in dict.fromkeys(people)]
    if people is None:
        return list(names)
    if not 1 <= people <= len(names):
        raise UserError(f"data.people={people}: {where} has 1 to {len(names)}")
    return list(names[:people])


def _known(name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise UserError(f"data.people: no '{name}'.{listed(name, names)}")
    return name
