"""VGGFace2 and CelebA-HQ as Anti-DreamBooth and MetaCloak lay them out.

<id>/set_A, set_B, set_C with four pictures each; MetaCloak adds class.txt, whose `face` is a person
to the trainer and a face to CLIP, and prompts.txt, a template per line with @@@ for the identifier.
"""

from pathlib import Path

from diffshortcut.data.people import Prompted, members, read_each, read_sets
from diffshortcut.data.person import Person
from diffshortcut.data.texts import PLACEHOLDER, check_count, text_of
from diffshortcut.errors import UserError

TRAINED = {"face": "person"}  # what the trainer calls a class; others go by their own name


def people(
    *,
    root: str,
    people: int | list[str] | None,
    prompts: int | None = None,
    identifier: str = "sks",
    class_noun: str = "person",
    subject: str = "face",
) -> list[Person]:
    """The people of a data set, or the one whose folder `root` is.

    With `prompts` = n the first n templates of a person's prompts.txt are his or her prompts.
    UserError if a set has no readable picture, if a class.txt does not fit `class_noun` and
    `subject`, or if there are fewer templates.
    """

    check_count(prompts)

    def read(folder: Path) -> Person:
        person = read_sets(folder.name, folder)
        _check_class(folder, class_noun, subject)
        if prompts is None:
            return person
        own = tuple(text.replace(PLACEHOLDER, identifier) for text in templates(folder, prompts))
        return Prompted(person.name, person.set_A, person.set_B, person.set_C, own)

    def is_one(folder: Path) -> bool:
        return (folder / "set_B").is_dir()

    return read_each(read, members(root, is_one, people, "a set_B"))


def templates(folder: Path, count: int) -> list[str]:
    """The first `count` lines of prompts.txt; UserError if there are fewer, or one lacks @@@."""
    file = folder / "prompts.txt"
    lines = [line for text in text_of(file).splitlines() if (line := text.strip())]
    if len(lines) < count:
        raise UserError(f"{file} has {len(lines)} prompts, data.prompts={count}")
    for line in lines[:count]:
        if PLACEHOLDER not in line:
            raise UserError(f"{file}: '{line}' lacks {PLACEHOLDER}, the place of the identifier")
    return lines[:count]


def _check_class(folder: Path, class_noun: str, subject: str) -> None:
    file = folder / "class.txt"
    said = text_of(file).strip() if file.is_file() else ""
    trained = TRAINED.get(said, said)
    if said and (trained, said) != (class_noun, subject):
        raise UserError(
            f"{file} says {said}: write prompts.class_noun='{trained}' prompts.subject='{said}'"
        )
