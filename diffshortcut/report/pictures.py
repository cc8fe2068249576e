"""Pictures of a report as data URIs, within a budget: an equal share of every arm first."""

import base64
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffshortcut.artifacts import keys
from diffshortcut.config import config
from diffshortcut.config.schema import check_node, plugins
from diffshortcut.config.usage import CONFIG_ERRORS
from diffshortcut.data.people import candidates
from diffshortcut.errors import UserError
from diffshortcut.pictures.decode import rgb, tile
from diffshortcut.report.gallery import stages_by_column
from diffshortcut.report.loaded import Entry, Stages

log = logging.getLogger(__name__)
SIDE, QUALITY = 384, 90  # pixels at most, of WebP
GENERATED = 4  # pictures of an arm and person
READERS = re.compile(r"diffshortcut\.data\.\w+\.people")  # what a record may make us call
PART = re.compile(r"[\w-][\w.-]*")  # of a path: names of stages and keys
Shown = dict[str, list[tuple[str, str]]]  # column -> ids, each with its caption
Files = Mapping[str, Sequence[tuple[Path, str]]]  # the same of files


@dataclass
class Album:
    """The pictures by id, and who shows which: arm -> person -> column -> ids.

    `left_out` counts the (arm, person) pairs for which the budget did not suffice, `absent` those
    whose artifacts are not in a store any more, or cannot be decoded.
    """

    budget: int
    images: dict[str, str] = field(default_factory=dict)
    shown: dict[str, dict[str, Shown]] = field(default_factory=dict)
    left_out: int = 0
    absent: int = 0
    _ids: dict[Path, str] = field(default_factory=dict)
    _spent: int = 0
    _full: bool = False

    def add(self, entry: Entry, person: str, files: Files) -> None:
        """Take a person's pictures of an arm if they fit; each file is held once.

        Once something did not fit, nothing more is encoded.
        """
        paths = dict.fromkeys(path for of in files.values() for path, _ in of)
        missing = [path for path in paths if path not in self._ids]
        try:
            new = {} if self._full else {path: _uri(path) for path in missing}
        except UserError as error:
            log.warning("no pictures of %s, %s: %s", entry.name, person, error)
            self.absent += 1
            return
        cost = sum(map(len, new.values()))
        self._full = self._full or self._spent + cost > self.budget
        if self._full and missing:
            self.left_out += 1
            return
        self._spent += cost
        for path, uri in new.items():
            self._ids[path] = f"p{len(self._ids)}"
            self.images[self._ids[path]] = uri
        self.shown.setdefault(entry.name, {})[person] = {
            column: [(self._ids[path], caption) for path, caption in of]
            for column, of in files.items()
        }

    @property
    def megabytes(self) -> float:
        """What the pictures take of the page."""
        return self._spent / 1e6

    def remark(self) -> str:
        """What is shown and what is not, in a sentence."""
        cells = sum(len(people) for people in self.shown.values())
        if not cells and not self.absent and not self.left_out:
            return "No pictures: no record says where they are."
        text = f"Pictures of {cells} cells, {self.megabytes:.1f} MB, as WebP of quality {QUALITY}"
        text += f" and at most {SIDE} pixels: for looking, not for measuring."
        if self.left_out:
            text += f" Thinned out: {self.left_out} cells did not fit into the budget of"
            text += f" {self.budget / 1e6:g} MB (--megabytes)."
        if self.absent:
            text += f" The store does not hold the artifacts of {self.absent} cells (--store)"
            text += ", or they are broken."
        return text


def collect(entries: Sequence[Entry], stores: Sequence[Path], megabytes: float) -> Album:
    """Pictures of every arm's first person, then of the second and so on, until nothing fits."""
    album = Album(int(megabytes * 1e6))
    originals: dict[str, dict[str, Path]] = {}
    for turn in range(max((len(entry.stages) for entry in entries), default=0)):
        for entry, person in _turn(entries, turn):
            files = _files(entry, entry.stages[person], stores)
            if not files:
                album.absent += 1
                continue
            data = str([entry.config.get("data"), entry.config.get("crop")])
            if data not in originals:
                originals[data] = _originals(entry.config)
            if person in originals[data]:
                files = {"original": [(originals[data][person], "original")], **files}
            album.add(entry, person, files)
    return album


def _turn(entries: Sequence[Entry], turn: int) -> Iterator[tuple[Entry, str]]:
    for entry in entries:
        yield from [(entry, person) for person in list(entry.stages)[turn : turn + 1]]


def _files(
    entry: Entry, stages: Stages, stores: Sequence[Path]
) -> dict[str, list[tuple[Path, str]]]:
    """The files of each column that a store holds, with captions."""
    images = {
        column: _images(entry, stages[name], stores)
        for column, name in stages_by_column(stages).items()
    }
    told = stages.get("generate", {}).get("config", entry.config)
    prompts = told.get("sampler", {}).get("prompts", [])  # a person may have prompts of its own
    found: dict[str, list[tuple[Path, str]]] = {
        column: [(path, column) for path in files[:1]]
        for column, files in images.items()
        if column != "generated"
    }
    found["generated"] = [
        (path, _prompt(path, prompts))
        for path in sorted(images.get("generated", ()), key=_by_sample)
    ][:GENERATED]
    return {column: files for column, files in found.items() if files}


def _images(entry: Entry, told: Mapping[str, Any] | None, stores: Sequence[Path]) -> Sequence[Path]:
    """Those of a stage's artifact, in the first store that has it."""
    own = [Path(entry.config["runtime"]["store"])] if "runtime" in entry.config else []
    beside = [folder.parent / "store" for folder in entry.folders]
    if told is None or not all(PART.fullmatch(str(told[part])) for part in ("stage", "key")):
        return ()
    for store in (*stores, *own, *beside):
        folder = store / told["stage"] / told["key"] / "images"
        if folder.is_dir():
            return candidates(folder)
    return ()


def _by_sample(path: Path) -> list[str]:
    """Files are called <prompt>-<sample>: the first sample of each prompt comes first."""
    return path.stem.split("-")[::-1]


def _prompt(path: Path, prompts: Sequence[str]) -> str:
    number = path.stem.partition("-")[0]
    return prompts[int(number)] if number.isdigit() and int(number) < len(prompts) else "generated"


def _originals(cfg: Mapping[str, Any]) -> dict[str, Path]:
    """The first picture of each person's set_B, as far as the data can still be read.

    The record may be anybody's: it may name only readers of data that are ours or trusted.
    """
    try:
        _check_reader(cfg["data"])
        if cfg.get("crop") is not None:  # what was protected is a part of the original
            return {}
        people = config.build({**cfg["data"], "people": None}, "data")  # those of all folders
        return {person.name: list(person.set_B)[0] for person in people}
    except (UserError, KeyError, *CONFIG_ERRORS) as error:
        log.warning("no original pictures: %s", error)
        return {}


def _check_reader(node: Any) -> None:
    """UserError unless all targets in the node read data, and fit their signatures."""
    for target in map(str, keys.targets(node)):
        trusted = target.partition(".")[0] in plugins() or READERS.fullmatch(target)
        if not trusted:
            raise UserError(f"{target} reads no data (name its package in DIFFSHORTCUT_PLUGINS)")
    check_node(node, "data")


def _uri(path: Path) -> str:
    picture = tile(path, min(SIDE, *rgb(path).size))  # as the stages see it
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
