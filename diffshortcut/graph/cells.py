"""Cells as graphs of stages: equal stages of all arms and people are merged into one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diffshortcut import links
from diffshortcut.artifacts import keys
from diffshortcut.config.schema import own
from diffshortcut.data.people import Prompted
from diffshortcut.data.person import SETS, Person
from diffshortcut.errors import UserError, listed

READS = {  # the sets whose pictures a stage looks at
    "crop": SETS,
    "protect": ("set_A", "set_B"),
    "personalize": ("set_B",),
    "score": ("set_B", "set_C"),
}
OF_MODEL = {"generated", "model"}
EVIDENCE = ("generated", "model", "purified", "protected")  # what a metric can read
STAGES = ("prior", "protect", "purify", "personalize", "generate", "score")


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """One stage for one person: what it is told and what it reads."""

    stage: str
    config: dict[str, Any]
    seed: int
    person: Person | None = None
    inputs: Mapping[str, "Task"] = field(default_factory=dict)
    link: str = ""  # what a command line calls a purifier; no part of the key

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

    def is_unchanged(self) -> bool:
        """Whether the key is still that of the pictures, weights and source on the disk."""
        return replace(self).key == self.key

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets of the person's pictures that the stage looks at."""
        surrogate = self.stage == "personalize" and "images" not in self.inputs
        return ("set_A",) if surrogate else READS.get(self.stage, ())

    @property
    def title(self) -> str:
        """For people: stage, person and the start of the key."""
        return " ".join([self.stage, *([self.person.name] if self.person else []), self.key[:8]])

    @property
    def model(self) -> "Task | None":
        """The trained model that it reads: a victim or an attack's surrogate."""
        return next((task for task in self.inputs.values() if task.stage == "personalize"), None)

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
    log: Path | None = None  # where more is said


def plan(cfg: Mapping[str, Any], person: Person) -> dict[str, Task]:
    """The cell of one arm and person as tasks by name: protect, purify.jpeg, score.ims ...

    What an attack reads is called prior.surrogate and personalize.surrogate. Photos keep their
    size unless all stages run.
    """
    whole, make = cfg["stages"] == "all", _Maker(cfg["seed"], person, cfg["zoo"]["resolution"])
    cell = make.protected(cfg["attack"], full_size=not whole)
    images = protected = cell["protect"]
    if cfg["stages"] == "protect":
        return cell
    for name, link in (cfg.get("purifier") or {}).items():
        images = cell[f"purify.{name}"] = make.purified(name, link, images, full_size=not whole)
    if not whole:
        return cell
    metrics = cfg.get("metric") or {}
    evidence = {"purified": images, "protected": protected}
    if not metrics or any(OF_MODEL & set(_reads(node)) for node in metrics.values()):
        victim = make.victim(cfg["trainer"], cfg["sampler"], images)
        evidence |= {"generated": victim["generate"], "model": victim["personalize"]}
        cell |= victim
    scores = {f"score.{name}": make.score(metric, evidence) for name, metric in metrics.items()}
    return cell | scores


@dataclass(frozen=True)
class _Maker:
    """The tasks of one arm and person, from the nodes of its config."""

    seed: int
    person: Person
    resolution: int

    def protected(self, attack: Mapping[str, Any], *, full_size: bool) -> dict[str, Task]:
        """The protection, after what its surrogates are made of."""
        read = self._prior(attack)
        if node := attack.get("personalized"):  # a surrogate that set_A has made
            told = {"trainer": own(node), "resolution": self.resolution}
            read["personalized"] = self._task("personalize", told, **self._prior(node))
        told = {"attack": own(attack), "resolution": self.resolution}
        told |= {"full_size": True} if full_size else {}
        surrogates = {f"{task.stage}.surrogate": task for task in read.values()}
        return {**surrogates, "protect": self._task("protect", told, **read)}

    def purified(
        self, name: str, link: Mapping[str, Any], images: Task, *, full_size: bool
    ) -> Task:
        """One link; the second of a class in a chain is told its number, so that it draws anew."""
        before = [task.config["link"] for task in images.ancestry() if task.stage == "purify"]
        number = links.numbers([links.kind(each) for each in (*before, link)])[-1]
        told = {"link": link, **({"resolution": self.resolution} if full_size else {})}
        told |= {"number": number} if number > 1 else {}
        return replace(self._task("purify", told, images=images), link=name)

    def victim(
        self, trainer: Mapping[str, Any], sampler: Mapping[str, Any], images: Task
    ) -> dict[str, Task]:
        """The class pictures if the trainer needs some, the model, and what it is asked for."""
        prior = self._prior(trainer)
        model = self._task("personalize", {"trainer": own(trainer)}, images=images, **prior)
        asked = {"sampler": _asked(sampler, self.person)}
        return {
            **prior,
            "personalize": model,
            "generate": self._task("generate", asked, model=model),
        }

    def score(self, metric: Mapping[str, Any], evidence: Mapping[str, Task]) -> Task:
        read = {role: evidence[role] for role in _reads(metric)}
        return self._task("score", {"metric": own(metric)}, **read)

    def _prior(self, node: Mapping[str, Any]) -> dict[str, Task]:
        found = node.get("prior")
        return {"prior": Task(stage="prior", config=found, seed=self.seed)} if found else {}

    def _task(self, stage: str, told: dict[str, Any], **inputs: Task) -> Task:
        return Task(stage=stage, config=told, seed=self.seed, person=self.person, inputs=inputs)


def _asked(sampler: Mapping[str, Any], person: Person) -> Mapping[str, Any]:
    """The sampler with the person's own prompts, if there are any."""
    if isinstance(person, Prompted) and person.prompts:
        return {**sampler, "prompts": list(dict.fromkeys(person.prompts))}
    return sampler


def _reads(metric: Mapping[str, Any]) -> Sequence[str]:
    """The artifacts that a metric looks at: all, unless its config says which."""
    roles = metric.get("reads", EVIDENCE)
    for role in roles:
        if role not in EVIDENCE:
            raise UserError(f"metric: nothing to read is called '{role}'.{listed(role, EVIDENCE)}")
    return roles


def merge(cells: Iterable[Mapping[str, Task]]) -> list[Task]:
    """Every distinct task, and all that one reads, once; the same stage and method stand together.

    What a task reads stands before it.
    """
    found: dict[str, Task] = {}
    for cell in cells:
        for task in cell.values():
            if task.key not in found:
                found |= {each.key: each for each in task.ancestry() if each.key not in found}
    return _models_are_read_at_once(sorted(found.values(), key=_order))


def _models_are_read_at_once(tasks: Sequence[Task]) -> list[Task]:
    """What reads a model comes right after it, so that a large one need not be kept for long."""
    readers: dict[str, list[Task]] = {}
    for task in tasks:
        if task.model:
            readers.setdefault(task.model.key, []).append(task)
    first = (task for task in tasks if not task.model)
    return [each for task in first for each in (task, *readers.get(task.key, ()))]


def _order(task: Task) -> tuple[int, int, str, str]:
    depth = sum(ancestor.stage == task.stage for ancestor in task.ancestry())
    method = next(keys.targets(task.config), "")
    place = STAGES.index("prior" if task.sets == ("set_A",) else task.stage)  # before protect
    surrogates = place == 0 and task.stage != "prior"
    return place, depth + surrogates, method, task.person.name if task.person else ""
