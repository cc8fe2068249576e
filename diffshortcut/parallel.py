"""Several processes, each with its device, that train one model together (accelerate launch).

The first process is in charge: it alone reads and writes the store, and tells the others what to
train. Each computes the gradient of its share of a step's images; the sum is that of all images.
Without a launcher there is one process, and nothing here does anything.
"""

import atexit
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a launch that only looks things up does not wait for torch
    from torch import Tensor

TOGETHER = {"personalize"}  # stages that all processes run at once
PATIENCE = timedelta(days=30)  # a process waits while the one in charge protects for hours
_orders: Any = None  # the group over which they are given: NCCL would give up after ten minutes


@dataclass(frozen=True)
class Team:
    """How many processes train together, and which of them this is."""

    size: int = 1
    rank: int = 0

    def share(self, count: int) -> Sequence[int]:
        """The indices, of `count` images, that this process computes."""
        return range(self.rank, count, self.size)

    def add_up(self, loss: "Tensor", weights: Iterable["Tensor"]) -> None:
        """Replace the loss and the gradient of every weight by their sums over the processes."""
        if self.size == 1:
            return
        from torch import distributed, zeros_like

        distributed.all_reduce(loss)
        for weight in weights:
            if weight.grad is None:  # none of this process's images has reached it
                weight.grad = zeros_like(weight)
            distributed.all_reduce(weight.grad)


ALONE = Team()


def launched() -> bool:
    """Whether a launcher has started several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def in_charge() -> bool:
    """Whether this process reads, writes and reports."""
    return not launched() or int(os.environ["RANK"]) == 0


def meet(device: str) -> None:
    """Wait for the other processes; `device` is cpu or cuda."""
    global _orders
    if launched() and _orders is None:
        from accelerate import PartialState
        from torch import distributed

        PartialState(cpu=device == "cpu")
        _orders = distributed.new_group(backend="gloo", timeout=PATIENCE)
        atexit.register(part)


def part() -> None:
    """End the groups: their threads, left to the end of the interpreter, may abort the process."""
    global _orders
    from torch import distributed

    _orders = None
    distributed.destroy_process_group()


def team() -> Team:
    """The processes that have met."""
    if not launched():
        return ALONE
    from accelerate import PartialState

    state = PartialState()
    return Team(state.num_processes, state.process_index)


def together(stage: str) -> bool:
    """Whether other processes run this stage at the same time: none may fail and go on alone."""
    return launched() and stage in TOGETHER


def call(key: str | None) -> None:
    """Tell the other processes to run a stage too, or with None that all is done."""
    if launched():
        _broadcast(key)


def orders() -> Iterator[str]:
    """For the other processes: the keys of the stages to run, one by one, until all is done."""
    while (key := _broadcast(None)) is not None:
        yield key


def _broadcast(key: str | None) -> str | None:
    from torch import distributed

    box = [key]
    distributed.broadcast_object_list(box, src=0, group=_orders)
    return box[0]
