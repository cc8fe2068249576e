"""What a data set holds: who, how many pictures of what size, and what is wrong with them."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from diffshortcut.config.config import build
from diffshortcut.data.person import SETS, Person

HEADER = ["who", *SETS, "shorter side", "too small", "no face"]
HasFace = Callable[[Path], bool]


class Messages(logging.Handler):
    """Keeps what readers warn of instead of printing it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line, once."""
        if (line := record.getMessage()) not in self.lines:
            self.lines.append(line)


@dataclass(frozen=True)
class Found:
    """A person and which of the pictures are too small or show no face; None: not looked for."""

    person: Person
    sides: Mapping[Path, int]  # the shorter one, in pixels
    small: Sequence[Path]
    faceless: Sequence[Path] | None = field(default=None)

    def cells(self) -> list[str]:
        """As a row under HEADER."""
        person, sides = self.person, self.sides.values()
        low, high = min(sides), max(sides)
        alike = "= set_B" if person.one_set else str(len(person.set_A))
        sizes = str(low) if low == high else f"{low} to {high}"
        faceless = "-" if self.faceless is None else str(len(self.faceless))
        counts = [alike, str(len(person.set_B)), str(len(person.set_C))]
        return [person.name, *counts, sizes, str(len(self.small)), faceless]

    def complaints(self, resolution: int) -> Iterator[str]:
        """A line for each picture that is not as it should be."""
        for path in self.small:
            yield f"{path}: {self.sides[path]} pixels, the models' pictures have {resolution}"
        for path in self.faceless or ():
            yield f"{path}: no face found"


def look(person: Person, resolution: int, has_face: HasFace | None) -> Found:
    """Look at every picture of a person, once."""
    paths = dict.fromkeys(path for name in SETS for path in getattr(person, name))
    sides = {path: min(_size(path)) for path in paths}
    small = [path for path, side in sides.items() if side < resolution]
    faceless = None if has_face is None else [path for path in paths if not has_face(path)]
    return Found(person, sides, small, faceless)


def finder(node: dict[str, Any]) -> HasFace:
    """Whether a picture shows a face, by the detector that a config node describes."""
    from diffshortcut.pictures.images import read

    detector = build(node, "zoo.detector")
    return lambda path: bool(detector.detect(read(path)[None])[0])


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as file:
        return file.size
