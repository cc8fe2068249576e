"""The drawn people that come with the package."""

from pathlib import Path

from diffshortcut.data.people import choose, read_each, read_sets
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError

ROOT = Path(__file__).parent.parent / "mini" / "portraits_data"


def people(*, people: int | list[str] | None) -> list[Person]:
    """The first n people, those named, or all (None), in the order of their names."""
    if not ROOT.is_dir():
        raise UserError(f"{ROOT}: the portraits are missing")
    names = sorted(path.name for path in ROOT.iterdir() if path.is_dir())
    places = [ROOT / name for name in choose(names, people, "portraits")]
    return read_each(lambda place: read_sets(place.name, place), places)
