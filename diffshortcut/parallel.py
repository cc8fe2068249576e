"""Several processes, each with its device, that train one model together (accelerate launch).

The first process is in charge: it alone reads and writes the store, and tells the others when to
train. Each computes the gradient of its share of a step's images; the sum is that of all images.
Without a launcher there is one process, and nothing here does anything.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Team:
    """How many processes train together, and which of them this is."""

    size: int = 1
    rank: int = 0

    def share(self, count: int) -> Sequence[int]:
        """The indices, of `count` images, that this process computes."""
        return range(self.rank, count, self.size)

    def add_up(self, loss: Tensor, weights: Iterable[Tensor]) -> None:
        """Replace the loss and the gradient of every weight by their sum over the processes."""
        if self.size == 1:
            return
        distributed.all_reduce(loss)
        for weight in weights:
            if weight.grad is None:  # no image of this process's share reaches it
                weight.grad = torch.zeros_like(weight)
            distributed.all_reduce(weight.grad)


ALONE = Team()


def launched() -> bool:
    """Whether a launcher has started several processes; imports nothing."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def in_charge() -> bool:
    """Whether this process reads, writes and reports."""
    return int(os.environ.get("RANK", "0")) == 0


@cache
def team(device: str) -> Team:
    """Meet the other processes, once; `device` is cpu or cuda."""
    if not launched():
        return ALONE
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    return Team(state.num_processes, state.process_index)


def told(message: Any = None) -> Any:
    """What the process in charge says; it gives the message, the others wait for it."""
    box = [message]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def orders() -> Iterator[str]:
    """For the others: the keys of what is to be trained, one by one, until all is done."""
    while (key := told()) is not None:
        yield key
