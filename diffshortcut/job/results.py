"""The results of a comparison in a folder named after their content."""

import io
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffshortcut.artifacts import keys, sources
from diffshortcut.artifacts.artifact import digests
from diffshortcut.artifacts.store import Store
from diffshortcut.config import catalog, config
from diffshortcut.config.arms import Arm
from diffshortcut.data.people import candidates
from diffshortcut.data.person import Person
from diffshortcut.disk import read_object, replacing, sha256
from diffshortcut.errors import UserError
from diffshortcut.graph import execute
from diffshortcut.graph.cells import Failure, Task, merge
from diffshortcut.job import measured
from diffshortcut.job.measured import Cell
from diffshortcut.result_files import COMPARISON, GALLERY, PRINTED, RECORD, ROWS, TABLE

if TYPE_CHECKING:
    from diffshortcut.report.facts import Facts

log = logging.getLogger(__name__)
PAPER = sources.PACKAGE / "report" / "published.yaml"  # figures that table.md sets beside ours


@dataclass(frozen=True)
class Comparison:
    """Arms, people and their cells: arm -> person -> name of the stage -> task."""

    arms: list[Arm]
    people: list[Person]
    cells: dict[str, dict[str, dict[str, Task]]]
    own: Arm  # the command line's, even if none of its cells is left

    @property
    def config(self) -> dict[str, Any]:
        """The command line's own config."""
        return self.own.config

    @property
    def runtime(self) -> dict[str, Any]:
        """What stages are told that cannot change their results beyond rounding."""
        return execute.runtime(self.config)

    def folder(self, overrides: Sequence[str]) -> Path:
        """Named after the experiment or the command line's own arm, and after its content."""
        name = config.given(overrides).get("experiment", self.own.name)
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        return Path(self.config["runtime"]["outputs"]) / f"{slug}-{self.key()[:8]}"

    @cached_property
    def tasks(self) -> list[Task]:
        """Every distinct stage once, in an order in which they can run."""
        return merge(cell for _, _, cell in self)

    def key(self) -> str:
        """A digest of what the results are computed from and of how they are summarized."""
        stages = [(arm, name, task.key) for arm, _, cell in self for name, task in cell.items()]
        source = sources.digest(["diffshortcut.report.summary", __name__])
        return keys.digest([stages, self.config["compare"], source, sha256(PAPER)])

    def without(self, failures: Sequence[Failure]) -> "Comparison":
        """Only the cells that are complete."""
        failed = {failure.task.key for failure in failures}
        left: dict[str, dict[str, dict[str, Task]]] = {}
        for arm, person, cell in self:
            if not failed & {task.key for task in cell.values()}:
                left.setdefault(arm, {})[person] = dict(cell)
        return replace(self, arms=[arm for arm in self.arms if arm.name in left], cells=left)

    def write(
        self,
        failures: Sequence[Failure],
        store: Store,
        folder: Path,
        overrides: Sequence[str],
    ) -> bool:
        """Write table, gallery, rows and, unless something failed, the record; tell the tracker.

        Whether the tracker has it.
        """
        from rich.console import Console

        from diffshortcut.report import summary
        from diffshortcut.report.sheet import as_markdown

        done = self.without(failures)
        if not done.cells:
            raise UserError("no cell could be completed: see the messages above")
        facts = _facts(done, store)
        summary.write(facts, folder=folder, gallery=gallery(done, store))
        text = io.StringIO()
        summary.show(facts, Console(file=text, width=120))
        missing = [f"Not done: {failure.task.title}: {failure.reason}" for failure in failures]
        (folder / PRINTED).write_text("\n".join([text.getvalue(), *missing]))
        with (folder / TABLE).open("a") as stream:
            stream.writelines(f"* {as_markdown(line)}\n" for line in missing)
        logged = _track(done, facts, store, folder)
        if not failures:
            write_record(done, store, folder, overrides)
        return logged

    def track(self, store: Store, folder: Path) -> bool:
        """Tell the tracker of results that are written, unless it has them; whether it does now.

        What it is told is read from the stages: of a store that was cleaned since it cannot be.
        """
        if _is_untracked(self):
            return True
        try:
            return _track(self, _facts(self, store), store, folder)
        except (OSError, ValueError) as error:
            lacks = getattr(error, "filename", None) or f"what it was made of ({error})"
            log.warning("W&B: not logged, the store no longer holds %s", lacks)
            return False

    @staticmethod
    def show(folder: Path, *, complete: bool) -> None:
        """Print the folder's table and where everything is."""
        print((folder / PRINTED).read_text())
        files = [TABLE, GALLERY, COMPARISON, ROWS]
        print(f"{folder}: {', '.join([*files, RECORD] if complete else files)}")
        if not complete:
            print("incomplete: the same command tries again what was not done")

    def __iter__(self) -> Iterator[tuple[str, str, Cell]]:
        for arm, of_arm in self.cells.items():
            for person, cell in of_arm.items():
                yield arm, person, cell


def is_complete(folder: Path) -> bool:
    """Whether there is a record, and every file that it names is as it says."""
    try:
        recorded = read_object(folder / RECORD)["files"]
        fits = all(sha256(folder / name) == digest for name, digest in recorded.items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False
    return fits and bool(recorded)


def _is_untracked(comparison: Comparison) -> bool:
    return comparison.config["logger"]["name"] == "none"


def _track(comparison: Comparison, facts: "Facts", store: Store, folder: Path) -> bool:
    if _is_untracked(comparison):
        return True
    from diffshortcut.report import tracked

    made, pictures = _made(comparison, store), gallery(comparison, store)
    return tracked.log(comparison.own, comparison.arms, facts, made, folder, pictures)


def _facts(comparison: Comparison, store: Store) -> "Facts":
    from diffshortcut.report import summary

    seeds = {arm.name: arm.config["seed"] for arm in comparison.arms}
    return summary.summarize(
        arms=comparison.arms,
        rows=measured.rows(comparison, seeds, store),
        compare=comparison.config["compare"],
        flags=measured.raised(comparison, store),
        changes=measured.changes(comparison, store),
    )


def _made(comparison: Comparison, store: Store) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Arm, name and provenance of every stage of every cell."""
    for arm, _, cell in comparison:
        for name, task in cell.items():
            yield arm, name, store.provenance(task.stage, task.key)


def gallery(comparison: Comparison, store: Store) -> dict[str, dict[str, list[Path]]]:
    """Each arm's pictures of its first person, by column."""
    from diffshortcut.report.gallery import stages_by_column

    found: dict[str, dict[str, list[Path]]] = {}
    for arm, _, cell in comparison:
        if arm in found or (person := cell["protect"].person) is None:
            continue
        found[arm] = {"original": list(person.set_B)} | {
            column: candidates(store.path(cell[name].stage, cell[name].key) / "images")
            for column, name in stages_by_column(cell).items()
        }
    return found


def write_record(
    comparison: Comparison, store: Store, folder: Path, overrides: Sequence[str]
) -> None:
    """Write what was done to make the folder, which completes it; nothing may fail after this.

    UserError if the photos, weights or sources are not those that it was made of any more: the
    pictures beside the results would be others.
    """
    for task in comparison.tasks:
        execute.check_unchanged(task)
    made: dict[str, dict[str, Any]] = {}
    for arm, person, cell in comparison:
        stages = {name: store.provenance(task.stage, task.key) for name, task in cell.items()}
        made.setdefault(arm, {})[person] = stages
    content = {
        "overrides": [*catalog.adopted(), *overrides],
        "arms": {arm.name: arm.config for arm in comparison.arms},
        "choices": {arm.name: dict(arm.choices) for arm in comparison.arms},
        "stages": made,
        "files": {name: digest for name, digest in digests(folder).items() if name != RECORD},
    }
    with replacing(folder / RECORD, alone=True) as aside:
        aside.write_text(json.dumps(content, indent=1, allow_nan=False))
