"""Artists' works as IMPRESS lays WikiArt out.

<artist>/clean/train and <artist>/clean/test, or without clean/, each with metadata.jsonl, which
holds a line {"file_name": ..., "text": ...} per work.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from diffshortcut.data.people import SPLIT, Prompted, check_split, images, members, read_each
from diffshortcut.data.person import Person
from diffshortcut.data.texts import PLACEHOLDER, check_count, text_of
from diffshortcut.errors import UserError

log = logging.getLogger(__name__)


def people(
    *,
    root: str,
    people: int | list[str] | None,
    split: Sequence[int] = SPLIT,
    prompts: int | None = None,
    identifier: str = "sks",
) -> list[Person]:
    """The artists of a folder, or the one whose folder `root` is.

    In the order of names, train's first works are set_A, the next ones set_B, to be protected;
    set_C, the references of the scores, is test's. With too few in train, set_A is set_B's
    originals. With `prompts` = n the captions of the first n works of set_C are the prompts.
    UserError if there is no readable work, or no caption.
    """
    check_split(split)
    check_count(prompts)

    def read(folder: Path) -> Person:
        works = _works(folder)
        train, test = images(works / "train", sum(split[:2])), images(works / "test", split[2])
        for name, found in (("train", train), ("test", test)):
            if not found:
                raise UserError(f"{works}: no readable image in {name}")
        first = split[0] if len(train) == sum(split[:2]) else 0
        if not first:
            log.info("%s: set_A is set_B's originals", folder.name)
        protected = train[first:][: split[1]]
        asked = [_prompt(path, identifier) for path in test[: prompts or 0]]
        if len(asked) < (prompts or 0):
            raise UserError(f"data.prompts={prompts}: {folder.name} has {len(asked)} in set_C")
        return Prompted(folder.name, train[:first] or protected, protected, test, tuple(asked))

    return read_each(read, members(root, _is_artist, people, "train and test"))


def captions(folder: Path) -> dict[str, str]:
    """Text by file name, of metadata.jsonl; UserError naming the first line that is of no use."""
    file = folder / "metadata.jsonl"
    found: dict[str, str] = {}
    for number, line in enumerate(text_of(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            match json.loads(line):
                case {"file_name": str(name), "text": str(text)}:
                    found[name] = text.strip()
                case _:
                    raise ValueError
        except (ValueError, RecursionError) as error:
            reason = 'is not {"file_name": ..., "text": ...}'
            raise UserError(f"{file}: line {number} {reason}") from error
    return found


def _prompt(work: Path, identifier: str) -> str:
    """The caption of a work in the artist's style, whose name the identifier is."""
    text = captions(work.parent).get(work.name)
    if not text:
        raise UserError(f"{work.parent / 'metadata.jsonl'} has no text for {work.name}")
    if PLACEHOLDER in text:
        return text.replace(PLACEHOLDER, identifier)
    return f"{text} in the style of {identifier}"


def _works(folder: Path) -> Path:
    inside = folder / "clean"
    return inside if (inside / "train").is_dir() else folder


def _is_artist(folder: Path) -> bool:
    return all((_works(folder) / part).is_dir() for part in ("train", "test"))
