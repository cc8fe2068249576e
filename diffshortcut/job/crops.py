"""Squares around faces in place of photos: a stage whose pictures other stages take for originals.

It runs while a command line is planned, for what is planned goes by the content of the pictures.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffshortcut.artifacts.store import Store
from diffshortcut.data.person import SETS, Person
from diffshortcut.errors import UserError
from diffshortcut.graph import execute
from diffshortcut.graph.cells import Task

log = logging.getLogger(__name__)


def cropped(people: Sequence[Person], config: Mapping[str, Any]) -> list[Person]:
    """The people with cropped pictures, if the config's `crop` asks for it, else as they are.

    Nothing is done twice, and no file of theirs is touched. UserError if a picture cannot be read.
    """
    if config["crop"] is None:
        return list(people)
    store = Store(Path(config["runtime"]["store"]))
    node = {"crop": config["crop"]}
    tasks = [Task(stage="crop", config=node, seed=0, person=person) for person in people]
    for failure in execute.run(tasks, store=store, runtime=execute.runtime(config)):
        raise UserError(f"{failure.task.title}: {failure.reason}")
    return [_with_squares(person, task, store) for person, task in zip(people, tasks, strict=True)]


def _with_squares(person: Person, task: Task, store: Store) -> Person:
    folder = store.path(task.stage, task.key)
    if center := store.provenance(task.stage, task.key)["facts"]["no_face"]:
        names = ", ".join(center)
        log.warning("%s: no face found, so the center square is taken: %s", person.name, names)
    set_A, set_B, set_C = (
        tuple(folder / name / f"{path.stem}.png" for path in getattr(person, name)) for name in SETS
    )
    # what is alike is there once, and stays alike
    return replace(person, set_A=set_B if person.one_set else set_A, set_B=set_B, set_C=set_C)
