"""The drawn artists that come with the package."""

from pathlib import Path

from diffshortcut.data import wikiart
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError

ROOT = Path(__file__).parent.parent / "mini" / "paintings_data"


def people(
    *, people: int | list[str] | None, prompts: int | None = None, identifier: str = "sks"
) -> list[Person]:
    """The first n artists, those named, or all (None), in the order of their names."""
    if not ROOT.is_dir():
        raise UserError(f"{ROOT}: the paintings are missing")
    return wikiart.people(root=str(ROOT), people=people, prompts=prompts, identifier=identifier)
