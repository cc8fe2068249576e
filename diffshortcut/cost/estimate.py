"""The cost of a stage: operations and memory at most, counted on tensors without values."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from diffshortcut.artifacts import keys
from diffshortcut.data.person import SETS
from diffshortcut.graph.cells import Task


@dataclass(frozen=True)
class Cost:
    """Floating-point operations, and bytes of tensors when they are most.

    Of these the weights of models, their gradients, the optimizer's state, and what is saved for
    the way back or passes by. `trained` are the bytes of the weights that an optimizer changes.
    `exact` if no value had to be guessed; `reason` says why nothing is known.
    """

    flops: float = 0
    weights: int = 0
    gradients: int = 0
    optimizer: int = 0
    saved: int = 0
    trained: int = 0
    exact: bool = True
    reason: str | None = None

    @property
    def peak(self) -> int:
        """Bytes of everything."""
        return self.weights + self.gradients + self.optimizer + self.saved

    @property
    def least(self) -> int:
        """Bytes that no smaller batch saves."""
        return self.weights + self.optimizer


READ = ("images", "sampler")  # of the configs of a stage's inputs, all that `stages` reads there
_known: dict[str, Cost] = {}


def estimate(task: Task) -> Cost:
    """Of a stage, from its config and the number of pictures it reads; told once per process."""
    key = keys.digest({"stage": task.stage, "config": task.config, "inputs": _inputs(task)})
    if key not in _known:
        _known[key] = _estimate(task)
    return _known[key]


def _inputs(task: Task) -> dict[str, Any]:
    """What of a task's inputs its cost depends on."""
    counts = {name: len(getattr(task.person, name)) for name in SETS} if task.person else {}
    photos = task.person.digest(["set_B"]) if _full_size(task) and task.person else ""
    sides = [t.config["resolution"] for t in task.ancestry() if "resolution" in t.config]
    of = {role: {k: t.config.get(k) for k in READ} for role, t in task.inputs.items()}
    return {"counts": counts, "photos": photos, "side": sides[:1], "of": of}


def _full_size(task: Task) -> bool:
    return any(t.config.get("full_size") for t in task.ancestry())


def _estimate(task: Task) -> Cost:
    from diffshortcut.cost.rehearsal import rehearsing
    from diffshortcut.cost.stages import rehearse

    try:
        with rehearsing() as ledger:
            rehearse(task)
            book = ledger.book
    except Exception as error:  # of anybody's method, and a grid must begin without an estimate
        return Cost(exact=False, reason=(str(error) or type(error).__name__).splitlines()[0])
    peak: Counter[Any] = book.peak
    return Cost(
        flops=book.flops,
        weights=peak["weights"],
        gradients=peak["gradients"],
        optimizer=peak["optimizer"],
        saved=peak["saved"],
        trained=book.trained,
        exact=not book.guessed,
    )
