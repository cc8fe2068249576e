"""The drawn people that come with the package."""

from pathlib import Path

from diffshortcut.data.people import Person, choose, read_sets
from diffshortcut.errors import UserError

ROOT = Path(__file__).parent.parent / "mini" / "portraits_data"


def people(*, people: int | list[str] | None, class_noun: str) -> list[Person]:
    """The first n people, those named, or all (None), in the order of their names."""
    if not ROOT.is_dir():
        raise UserError(f"{ROOT}: the portraits are missing")
    names = sorted(path.name for path in ROOT.iterdir() if path.is_dir())
    return [read_sets(name, ROOT / name, class_noun) for name in choose(names, people, "portraits")]
