"""The results of stages=protect and stages=purify: one's own photos, under their own names."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffshortcut import flags, links
from diffshortcut.artifacts import keys, sources
from diffshortcut.artifacts.store import Store
from diffshortcut.data.person import Person
from diffshortcut.disk import replacing
from diffshortcut.errors import UserError
from diffshortcut.graph.cells import Failure, Task
from diffshortcut.job import results
from diffshortcut.job.measured import Cell
from diffshortcut.job.results import Comparison
from diffshortcut.result_files import RECORD

SHEET = "side_by_side.png"
MADE = {"protect": "protected", "purify": "purified"}  # what a photo is after these stages


class OwnPhotos(Comparison):
    """The command line's own arm, whose cells end with the photos that it makes."""

    @property
    def made(self) -> str:
        """protected or purified."""
        return MADE[self.config["stages"]]

    @property
    def report(self) -> str:
        """The name of the report."""
        return f"{self.made}.json"

    @property
    def by(self) -> str:
        """The attack, or the links of the purification."""
        return self.own.name.removeprefix(f"{self.made}-")

    def folder(self, overrides: Sequence[str]) -> Path:
        """Named after what is done and the content of the results."""
        return super().folder([])

    def key(self) -> str:
        """A digest of what the photos are made from and of how they are shown."""
        stages = [(name, task.key) for _, _, cell in self for name, task in cell.items()]
        return keys.digest([stages, sources.digest([__name__])])

    def write(
        self,
        failures: Sequence[Failure],
        store: Store,
        folder: Path,
        overrides: Sequence[str],
    ) -> bool:
        """Write <person>/<name>.png, side by side and report; unless something failed the record.

        True, as `track` is.
        """
        from diffshortcut.report import side_by_side

        done = self.without(failures)
        if not done.cells:
            raise UserError(f"no photo could be {self.made}: see the messages above")
        artifacts = {person: store.path(*_last(cell)) for _, person, cell in done}
        photos = [photo for photo in _photos(self.people, folder) if photo.person in artifacts]
        for photo in photos:
            with replacing(photo.made, alone=True) as aside:
                shutil.copyfile(artifacts[photo.person] / "images" / photo.made.name, aside)
        pairs = [(photo.original, photo.made) for photo in photos]
        with replacing(folder / SHEET, alone=True) as aside:
            side_by_side.draw(pairs, self.made).save(aside)
        report = _report(self, done, photos, store, folder)
        report["not_done"] = [f"{failure.task.title}: {failure.reason}" for failure in failures]
        (folder / self.report).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        if not failures:
            results.write_record(done, store, folder, overrides)
        return True

    def track(self, store: Store, folder: Path) -> bool:
        """True: of photos, which are the user's own, a tracker is to know nothing."""
        return True

    @staticmethod
    def show(folder: Path, *, complete: bool) -> None:
        """Print what the folder's report says and where everything is."""
        from rich.console import Console

        from diffshortcut.report import photos

        made = next(made for made in MADE.values() if (folder / f"{made}.json").is_file())
        photos.show(json.loads((folder / f"{made}.json").read_text()), Console(width=120))
        files = [SHEET, f"{made}.json", *([RECORD] if complete else [])]
        print(f"{folder}: the {made} photos, {', '.join(files)}")
        if not complete:
            print("incomplete: the same command tries again what was not done")


@dataclass(frozen=True)
class Photo:
    """A photo of a person: the original, and what was made of it in the results' folder."""

    person: str
    original: Path
    made: Path


def _last(cell: Cell) -> tuple[str, str]:
    """Stage and key of the artifact that holds the photos."""
    task: Task = list(cell.values())[-1]
    return task.stage, task.key


def _photos(people: Sequence[Person], folder: Path) -> list[Photo]:
    return [
        Photo(person.name, path, folder / person.name / f"{path.stem}.png")
        for person in people
        for path in person.set_B
    ]


def _report(
    comparison: OwnPhotos, done: Comparison, photos: Sequence[Photo], store: Store, folder: Path
) -> dict[str, Any]:
    from diffshortcut.report.photos import measure

    facts = {
        person: {n: store.provenance(task.stage, task.key)["facts"] for n, task in cell.items()}
        for _, person, cell in done
    }
    protects = comparison.made == MADE["protect"]
    return {
        "made": comparison.made,
        "by": comparison.by,
        "radius": next(iter(facts.values()))["protect"]["radius"] if protects else None,
        "resolution": comparison.config["zoo"]["resolution"],
        "photos": [
            {
                "person": photo.person,
                "original": photo.original.name,
                "file": photo.made.relative_to(folder).as_posix(),
                **measure(photo.original, photo.made),
                **_noted(photo, facts[photo.person]),
            }
            for photo in photos
        ],
        "flags": {person: _flags(list(of_cell.values())) for person, of_cell in facts.items()},
    }


def _noted(photo: Photo, facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The last note that the links of a purification have made of a photo, by link."""
    told = {link: of.get("photos") for link, of in links.of(facts).items()}
    found = {link: notes[photo.made.name] for link, notes in told.items() if notes}
    return {"noted": found} if found else {}


def _flags(facts: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Those of the protect stage, if it protects, and of a purification whether it does nothing."""
    purified = [fact for fact in facts if "unchanged" in fact]
    [of_attack] = [fact for fact in facts if "flags" in fact]
    found = of_attack["flags"] if of_attack["radius"] or not purified else {}
    return {**found, **flags.of_purification(purified, unaware=False)}
