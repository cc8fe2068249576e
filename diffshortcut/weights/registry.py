"""The full zoo's weights: names, files, sources and licences, and where they lie."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from diffshortcut.errors import UserError, listed
from diffshortcut.units import size

REGISTRY = Path(__file__).with_name("registry.yaml")
NOTED = "sha256.json"  # of each file, as first fetched
HOME, CACHE = "DIFFSHORTCUT_WEIGHTS", "XDG_CACHE_HOME"  # in the environment: where they lie


@dataclass(frozen=True)
class File:
    """A file of an entry; its size in bytes, and its sha256 where it is known beforehand."""

    path: str
    bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """A repository of the hub (`hf`) or the address of a file (`url`)."""

    kind: str
    place: str
    revision: str | None = None
    note: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class Entry:
    """The weights of one role: what they are, where they come from, what one may do with them."""

    name: str
    title: str
    licence: str
    commercial: str
    sources: tuple[Source, ...]
    files: tuple[File, ...]
    archive: str | None = None  # a zip that holds the files, at whatever depth

    @property
    def bytes(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.bytes for file in self.files)

    @property
    def folder(self) -> Path:
        """Where the files lie, or are to lie."""
        return home() / self.name

    @property
    def place(self) -> Path:
        """What a loader is given: the only file, or the folder of several."""
        return self.path(self.files[0]) if len(self.files) == 1 else self.folder

    def path(self, file: File) -> Path:
        """Of a file; an archive that was unpacked by hand may lie one folder too deep."""
        direct, deeper = (f / file.path for f in (self.folder, self.folder / self.name))
        return deeper if self.archive and deeper.is_file() and not direct.is_file() else direct

    def missing(self) -> list[File]:
        """The files that are not there."""
        return [file for file in self.files if not self.path(file).is_file()]

    def expected(self, file: File) -> str | None:
        """Its sha256 as registered, or as noted when it was first fetched."""
        return file.sha256 or self.noted().get(file.path)

    def noted(self) -> dict[str, str]:
        """sha256 by file, of what was fetched."""
        path = self.folder / NOTED
        try:
            return json.loads(path.read_text()) if path.is_file() else {}
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}): remove it, then fetch again") from error


def home() -> Path:
    """$DIFFSHORTCUT_WEIGHTS, or a folder of the user's cache."""
    given = os.environ.get(HOME)
    cache_home = Path(os.environ.get(CACHE, "~/.cache"))
    return Path(given or cache_home / "diffshortcut" / "weights").expanduser()


def entry(name: str) -> Entry:
    """The entry of a name; UserError with the close match if there is none."""
    known = entries()
    if name not in known:
        raise UserError(f"weights: no '{name}' in the registry.{listed(name, known)}")
    return known[name]


def locate(name: str) -> Path:
    """The file or folder of an entry, or its file NAME/FILE; UserError if it has to be fetched."""
    name, _, inner = name.partition("/")
    found = entry(name)
    known = {file.path: file for file in found.files}
    if inner and inner not in known:
        raise UserError(f"weights: {name} has no {inner}.{listed(inner, known)}")
    if not found.missing():
        return found.path(known[inner]) if inner else found.place
    raise absent([found])


def absent(entries: Sequence[Entry]) -> UserError:
    """What the entries are, how large, under which licence, and the command that fetches them."""
    lines = [
        f"{e.name} ({e.title}, {size(e.bytes)}, {e.licence}, commercial use: {e.commercial})"
        for e in entries
    ]
    command = f"python -m diffshortcut.weights fetch {' '.join(e.name for e in entries)}"
    if len(entries) == 1:
        what = f"weights: {lines[0]} is not in {entries[0].folder}: "
    else:
        what = f"weights that are not in {home()}:\n  " + "\n  ".join(lines) + "\n"
    return UserError(f"{what}{command}, or use zoo=mini")


@cache
def entries() -> dict[str, Entry]:
    """All entries by name, in the order of the registry."""
    table = yaml.safe_load(REGISTRY.read_text())
    return {name: _entry(name, node) for name, node in table.items()}


def _entry(name: str, node: Mapping[str, Any]) -> Entry:
    return Entry(
        name=name,
        title=node["title"],
        licence=node["licence"],
        commercial=_word(node["commercial"]),
        sources=tuple(_source(source) for source in node["sources"]),
        files=tuple(File(path, **facts) for path, facts in node["files"].items()),
        archive=node.get("archive"),
    )


def _source(node: Mapping[str, str]) -> Source:
    kind = "hf" if "hf" in node else "url"
    return Source(kind, node[kind], node.get("revision"), node.get("note", ""))


def _word(value: object) -> str:
    """YAML reads a bare yes or no as a truth value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
