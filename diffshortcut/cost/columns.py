"""The columns of a plan: operations and memory of every line, and what is to be said of them."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from diffshortcut.artifacts.provenance import machine_memory
from diffshortcut.config.config import leaves
from diffshortcut.cost.advice import advice
from diffshortcut.cost.estimate import Cost, estimate
from diffshortcut.errors import UserError
from diffshortcut.graph.cells import Task
from diffshortcut.graph.execute import with_micro_batch
from diffshortcut.units import operations, size

HEADER = ["FLOPs", "needs"]


@dataclass(frozen=True)
class StageCosts:
    """What the tasks of one stage and method cost, of which the largest stands for all in memory.

    Nothing is rehearsed before it is asked for.
    """

    name: str
    tasks: Sequence[Task]

    @cached_property
    def costs(self) -> list[Cost]:
        """Of each task."""
        return [estimate(task) for task in self.tasks]

    def cells(self) -> list[str]:
        """Under HEADER; a < says that at most so much is needed, - that nothing is known."""
        known = [cost for cost in self.costs if cost.reason is None]
        if not known:
            return ["-", "-"]
        flops, most = sum(c.flops for c in known), max(c.peak for c in known)
        sign = "" if all(cost.exact for cost in known) else "< "
        return [sign + operations(flops), size(most)]

    def notes(self, memory: int) -> list[str]:
        """Why nothing is known, or what does not fit. UserError if it never will."""
        unknown = sorted({f"{self.name}: {cost.reason}" for cost in self.costs if cost.reason})
        if not self.tasks:
            return unknown
        pairs = zip(self.costs, self.tasks, strict=True)
        largest, task = max(pairs, key=lambda pair: pair[0].peak)
        helps = largest.peak > memory and _smaller(task, largest)
        micro_batch = _micro_batch(task) if helps else None
        try:
            said = advice(largest, memory, _options(task.config), micro_batch)
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from error
        return unknown + ([f"{self.name} {said}"] if said else [])


def notes(told: Iterable[StageCosts], device: str) -> list[str]:
    """Those of all lines. UserError for a stage that cannot fit the device."""
    memory = device_memory(device)
    return [note for one in told for note in one.notes(memory)]


def device_memory(device: str) -> int:
    """Bytes of the device that a run would use: of the GPU, else of the machine."""
    if device != "cpu":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_properties(0).total_memory
    return machine_memory() or sys.maxsize


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """The first precision in a stage's config."""
    found: dict[str, Any] = {}
    for where, value in leaves(dict(config)):
        *above, name = where.split(".")
        if above and above[-1] == "precision":
            found.setdefault(name, value)
    return found


def _smaller(task: Task, cost: Cost) -> bool:
    """Whether micro-batches of 1 need less: a training holds its gradients beside what is saved."""
    return estimate(with_micro_batch(task, 1)).peak < cost.peak


def _micro_batch(task: Task) -> tuple[str, Any] | None:
    """What a command line calls the number of images held at once, and its value, if there is one.

    Of several the one that stands least deep: the stage's own and not one of a link that an
    adaptive attack looks through.
    """
    found = [at for at in leaves(task.config) if at[0].rpartition(".")[2] == "micro_batch"]
    where, value = min(found, key=lambda at: at[0].count("."), default=("", None))
    part, _, _ = where.partition(".")
    called = {"link": f"purifier.{task.link}", "micro_batch": "prior.micro_batch"}.get(part, part)
    return (called + where.removeprefix(part), value) if where else None
