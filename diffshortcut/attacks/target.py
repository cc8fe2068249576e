"""Pictures that targeted attacks pull towards; none is a file, so that all stand in a config."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Target(Protocol):
    """A picture (1, 3, size, size) in [0, 1] at any size."""

    def __call__(self, size: int) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Grey:
    """A uniform grey; level 0.5 is 0 for a model of [-1, 1]."""

    level: float = 0.5

    def __call__(self, size: int) -> Tensor:
        """(1, 3, size, size)."""
        return torch.full((1, 3, size, size), self.level)


@dataclass(frozen=True, kw_only=True)
class Checkers:
    """A black and white checkerboard of `squares` squares a side: full contrast, much edge.

    Mist's own target is a picture of repeated high-contrast letters, which we may not ship.
    """

    squares: int = 16

    def __call__(self, size: int) -> Tensor:
        """(1, 3, size, size)."""
        place = torch.arange(size) * self.squares // size
        board = (place[:, None] + place[None]) % 2
        return board.float().expand(1, 3, size, size)
