"""The results of stages=protect: the protected photos under their own names, and what was done."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffshortcut import keys, results
from diffshortcut.cells import Failure
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError
from diffshortcut.results import Comparison
from diffshortcut.store import Store

REPORT = "protected.json"
SHEET = "side_by_side.png"


class Protection(Comparison):
    """The command line's own arm, whose cells end with the protected photos."""

    def folder(self, overrides: Sequence[str]) -> Path:
        """Named after the attack and the content of the results."""
        return super().folder([])

    def key(self) -> str:
        """A digest of what the photos are made from and of how they are shown."""
        stages = [(name, task.key) for _, _, cell in self for name, task in cell.items()]
        return keys.digest([stages, keys.source_digest([__name__])])


@dataclass(frozen=True)
class Photo:
    """A photo of a person: the original and its protected version in the results' folder."""

    person: str
    original: Path
    protected: Path


def write(
    comparison: Comparison,
    failures: Sequence[Failure],
    store: Store,
    folder: Path,
    overrides: Sequence[str],
) -> None:
    """Write <person>/<name>.png, side by side and report, and unless something failed the record.

    Nothing is told to a tracker: the photos are the user's own.
    """
    from diffshortcut.report import side_by_side

    done = comparison.without(failures)
    if not done.cells:
        raise UserError("no photo could be protected: see the messages above")
    made = {person: store.path("protect", cell["protect"].key) for _, person, cell in done}
    photos = [photo for photo in _photos(comparison.people, folder) if photo.person in made]
    for photo in photos:
        _copy(made[photo.person] / "images" / photo.protected.name, photo.protected)
    side_by_side.draw([(p.original, p.protected) for p in photos]).save(folder / SHEET)
    report = _report(done, photos, store, folder)
    report["not_done"] = [f"{failure.task.title}: {failure.reason}" for failure in failures]
    (folder / REPORT).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    if not failures:
        results.write_record(done, store, folder, overrides)


def show(folder: Path, *, complete: bool) -> None:
    """Print what the folder's report says and where everything is."""
    from rich.console import Console

    from diffshortcut.report import photos

    photos.show(json.loads((folder / REPORT).read_text()), Console(width=120))
    files = [SHEET, REPORT, *([results.RECORD] if complete else [])]
    print(f"{folder}: the protected photos, {', '.join(files)}")
    if not complete:
        print("incomplete: the same command tries again what was not done")


def _photos(people: Sequence[Person], folder: Path) -> list[Photo]:
    return [
        Photo(person.name, path, folder / person.name / f"{path.stem}.png")
        for person in people
        for path in person.set_B
    ]


def _report(
    done: Comparison, photos: Sequence[Photo], store: Store, folder: Path
) -> dict[str, Any]:
    from diffshortcut.report.photos import measure

    facts = {
        person: store.provenance("protect", cell["protect"].key)["facts"]
        for _, person, cell in done
    }
    return {
        "attack": done.arms[-1].name.removeprefix("protected-"),
        "radius": next(iter(facts.values()))["radius"],
        "resolution": done.config["zoo"]["resolution"],
        "photos": [
            {
                "person": photo.person,
                "original": photo.original.name,
                "protected": photo.protected.relative_to(folder).as_posix(),
                **measure(photo.original, photo.protected),
            }
            for photo in photos
        ],
        "flags": {person: found["flags"] for person, found in facts.items()},
    }


def _copy(source: Path, place: Path) -> None:
    """A copy that is there wholly or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name}")
    shutil.copyfile(source, aside)
    aside.replace(place)
