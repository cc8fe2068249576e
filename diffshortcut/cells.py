"""Cells as graphs of stages: equal stages of all arms and people are merged and run once."""

import importlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diffshortcut import config, keys, provenance, weights
from diffshortcut.data.people import SETS, Prompted
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError
from diffshortcut.progress import track
from diffshortcut.schema import own
from diffshortcut.store import Store, StoreError

log = logging.getLogger(__name__)
READS = {  # the sets whose pictures a stage looks at
    "crop": SETS,
    "protect": ("set_A", "set_B"),
    "personalize": ("set_B",),
    "score": ("set_B", "set_C"),
}
STAGES = ("prior", "protect", "purify", "personalize", "generate", "score")


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """One stage for one person: what it is told and what it reads."""

    stage: str
    config: dict[str, Any]
    seed: int
    person: Person | None = None
    inputs: Mapping[str, "Task"] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """The stage key; equal tasks of different arms have the same."""
        return keys.stage_key(
            stage=self.stage,
            config={**self.config, "seed": self.seed},
            person=self.person.name if self.person else "",
            data=self.person.digest(self.sets) if self.person else "",
            parents={role: task.key for role, task in self.inputs.items()},
        )

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets of the person's pictures that the stage looks at."""
        surrogate = self.stage == "personalize" and "images" not in self.inputs
        return ("set_A",) if surrogate else READS.get(self.stage, ())

    @property
    def title(self) -> str:
        """For people: stage, person and the start of the key."""
        return " ".join([self.stage, *([self.person.name] if self.person else []), self.key[:8]])

    def ancestry(self) -> Iterator["Task"]:
        """All that has to be done before, in order, then the task itself."""
        for task in self.inputs.values():
            yield from task.ancestry()
        yield self


@dataclass(frozen=True)
class Failure:
    """A task that could not be done and why."""

    task: Task
    reason: str


def plan(cfg: Mapping[str, Any], person: Person) -> dict[str, Task]:
    """The cell of one arm and person as tasks by name: protect, purify.jpeg, score.ims ..."""
    seed, size = cfg["seed"], cfg["zoo"]["resolution"]

    def task(stage: str, node: dict[str, Any], **inputs: Task) -> Task:
        return Task(stage=stage, config=node, seed=seed, person=person, inputs=inputs)

    def prior(node: dict[str, Any]) -> dict[str, Task]:
        found = node.get("prior")
        return {"prior": Task(stage="prior", config=found, seed=seed)} if found else {}

    attack, trainer = cfg["attack"], cfg["trainer"]
    before = prior(attack)
    if node := attack.get("personalized"):  # a surrogate that set_A has made
        personal = {"trainer": own(node), "resolution": size}
        before["personalized"] = task("personalize", personal, **prior(node))
    whole = cfg["stages"] == "all"  # else photos keep their size
    size_of = {} if whole else {"full_size": True}
    protected = task("protect", {"attack": own(attack), "resolution": size, **size_of}, **before)
    cell = {f"{found.stage}.surrogate": found for found in before.values()}
    class_images = prior(trainer) if whole else {}
    cell |= {**class_images, "protect": protected}
    if cfg["stages"] == "protect":
        return cell
    images = protected
    seen = {} if whole else {"resolution": size}
    for name, link in (cfg.get("purifier") or {}).items():
        images = cell[f"purify.{name}"] = task("purify", {"link": link, **seen}, images=images)
    if not whole:
        return cell
    model = task("personalize", {"trainer": own(trainer)}, images=images, **class_images)
    sampler = cfg["sampler"]
    if isinstance(person, Prompted) and person.prompts:
        sampler = {**sampler, "prompts": list(person.prompts)}
    generated = task("generate", {"sampler": sampler}, model=model)
    cell |= {"personalize": model, "generate": generated}
    evidence = {"generated": generated, "model": model, "purified": images, "protected": protected}
    for name, metric in (cfg.get("metric") or {}).items():
        cell[f"score.{name}"] = task("score", {"metric": metric}, **evidence)
    return cell


def merge(cells: Iterable[Mapping[str, Task]]) -> list[Task]:
    """Every distinct task once, after all it reads; the same stage and method stand together."""
    found = {task.key: task for cell in cells for task in cell.values()}
    return sorted(found.values(), key=_order)


def run(tasks: Iterable[Task], *, store: Store, runtime: Mapping[str, Any]) -> list[Failure]:
    """Do what the store lacks, in order; a failed task stops only those that need it."""
    todo = [task for task in tasks if not store.find(task.stage, task.key)]
    if not todo:
        return []
    for task in todo:  # loads the code at once, so that what runs is what the keys were made of
        for part, node in task.config.items():
            config.check_values(node, "purifier" if part == "link" else part)
        importlib.import_module(f"diffshortcut.stages.{task.stage}")
    device = _device(runtime["device"])
    failures: dict[str, Failure] = {}
    for task in track(todo, "stages"):
        if any(parent.key in failures for parent in task.inputs.values()):
            failures[task.key] = Failure(task, "it needs a stage that failed")
            continue
        try:
            _execute(task, store, device, runtime)
        except StoreError:
            raise
        except Exception as error:
            if runtime["fail_fast"]:
                raise
            failures[task.key] = Failure(task, str(error) or type(error).__name__)
            log.error("%s failed: %s", task.title, error, exc_info=not isinstance(error, UserError))
    return list(failures.values())


def _execute(task: Task, store: Store, device: str, runtime: Mapping[str, Any]) -> None:
    import torch

    from diffshortcut.checkpoint import Checkpoint
    from diffshortcut.seeding import Draws
    from diffshortcut.stages.inputs import Inputs

    torch.set_default_device(device)
    torch.set_num_threads(runtime["threads"])
    stage = importlib.import_module(f"diffshortcut.stages.{task.stage}")
    artifacts = {role: store.path(t.stage, t.key) for role, t in task.inputs.items()}
    partial = store.partial(task.stage, task.key)
    checkpoint = Checkpoint(partial, runtime["checkpoint_minutes"])
    inputs = Inputs(person=task.person, artifacts=artifacts, checkpoint=checkpoint)
    draws = Draws(task.seed, task.stage, task.person.name if task.person else "")
    parents = {role: t.key for role, t in task.inputs.items()}

    def make(out: Path) -> dict[str, Any]:
        _check_unchanged(task)  # it was planned maybe hours ago
        with provenance.cost() as spent:
            facts = stage.run(config=task.config, inputs=inputs, out=out, draws=draws)
        _check_unchanged(task)
        return {
            "stage": task.stage,
            "key": task.key,
            "parents": parents,
            "person": task.person.name if task.person else None,
            "seed": task.seed,
            "config": task.config,
            **_digests(task),
            "facts": facts,
            "device": device,
            "threads": torch.get_num_threads(),
            **spent,
            **provenance.environment(),
        }

    store.write(task.stage, task.key, make)


def _check_unchanged(task: Task) -> None:
    """UserError if the key is no longer that of the pictures, weights and source on the disk."""
    reason = "its inputs have changed while this ran: call the same command again"
    try:
        if replace(task).key == task.key:
            return
    except (UserError, OSError) as error:
        reason = str(error)
    raise UserError(f"{task.title}: {reason}")


def _digests(task: Task) -> dict[str, dict[str, str]]:
    """sha256 of the sets of pictures and of the weights that a task reads."""
    person, sets = task.person, task.sets
    references = {value for _, value in config.leaves(task.config) if weights.scheme(value)}
    return {
        "pictures": {name: person.digest([name]) for name in sets} if person else {},
        "weights": {reference: weights.digest(reference) for reference in sorted(references)},
    }


def _device(wanted: str) -> str:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("runtime.device=cuda: this machine has no such device")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def _order(task: Task) -> tuple[int, int, str, str]:
    depth = sum(ancestor.stage == task.stage for ancestor in task.ancestry())
    method = next(keys.targets(task.config), "")
    place = STAGES.index("prior" if task.sets == ("set_A",) else task.stage)  # before protect
    surrogates = place == 0 and task.stage != "prior"
    return place, depth + surrogates, method, task.person.name if task.person else ""
