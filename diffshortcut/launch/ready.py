"""What can begin now, and which of it is best for a worker: found among kinds, not among tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from diffshortcut.config import config
from diffshortcut.graph.cells import Task

Kind = tuple[str, ...]  # a stage and the models that it uses


@dataclass(frozen=True)
class _Group:
    kind: Kind
    light: bool
    reads_model: bool


class Ready:
    """Tasks of a graph that can begin; of equal ones the first in the graph's order is next."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = list(tasks)
        self._place = {task.key: place for place, task in enumerate(tasks)}
        self._waiting: dict[_Group, list[int]] = {}  # their places, each a heap

    def add(self, task: Task) -> None:
        """It can begin."""
        group = _Group(kind(task), is_light(task), task.model is not None)
        heappush(self._waiting.setdefault(group, []), self._place[task.key])

    def take(self, warm_for: Kind, *, light: bool, light_left_to_others: bool) -> Task | None:
        """The next for a worker, which is `warm_for` what it has done last; None if there is none.

        A `light` one does light stages only. What others cannot do comes first; then what reads a
        model of a training, so that a large one need not be kept for long; then what the worker is
        warm for.
        """

        def rank(group: _Group) -> tuple[bool, bool, bool, int]:
            left = light_left_to_others and group.light
            return left, not group.reads_model, group.kind != warm_for, self._waiting[group][0]

        fitting = [group for group in self._waiting if group.light or not light]
        if not fitting:
            return None
        best = min(fitting, key=rank)
        task = self._tasks[heappop(self._waiting[best])]
        if not self._waiting[best]:
            del self._waiting[best]
        return task


def is_light(task: Task) -> bool:
    """Whether a part of a GPU is enough: scores of what is made, and methods without a model."""
    scores = task.stage == "score" and "sampler" not in task.config["metric"]
    return scores or not config.references(task.config)


def kind(task: Task) -> Kind:
    """Tasks of one kind use the same models in the same way."""
    return (task.stage, *sorted(config.references(task.config)))
