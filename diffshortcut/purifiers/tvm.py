"""Total variation minimization (Guo et al. 2018) of a small picture, then super-resolution."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.pictures.images import fraction, resize
from diffshortcut.purifiers.sr import FACTOR, SuperResolution
from diffshortcut.purifiers.storage import check_storage, stored
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class TotalVariation:
    """Shrink, drop pixels, restore them, and enlarge again by super-resolution.

    min_Z ||(1 - X) (Z - x)||_2 + weight TV_2(Z) for each color, X the dropped pixels, TV_2 the sum
    of the 2-norms of the differences of neighboring rows and columns. Nothing is squared: at a
    weight of 0.01 the kept pixels of 64 x 64 cannot move, and only dropped ones are filled in.
    """

    enlarge: SuperResolution
    shrink: int  # of the sides
    drop: float  # probability of a pixel, per color
    weight: float
    iterations: int  # of the solver
    enlargements: int  # before the last one, the picture is brought to a quarter of its size
    interleaved: bool = False  # colors side by side in a row, as if they were neighbors
    storage: str = "float"

    def __post_init__(self) -> None:
        check_storage(self.storage)
        counts = (self.shrink, self.iterations, self.enlargements)
        if not 0 <= self.drop < 1 or self.weight <= 0 or min(counts) < 1:
            raise ValueError("drop must be in [0, 1), weight above 0, the counts at least 1")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1] at the same size."""
        x = stored(self.restored(self.small(images), draws), self.storage).clamp(0, 1)
        for number in range(self.enlargements):
            if number == self.enlargements - 1:
                x = resize(x, fraction(images, FACTOR))
            x = self.enlarge.enlarged(x, draws.scope(f"enlargement {number}"))
        return resize(x, (images.shape[-2], images.shape[-1]))

    def small(self, images: Tensor) -> Tensor:
        """The images shrunk."""
        return resize(images, fraction(images, self.shrink))

    def restored(self, small: Tensor, draws: Draws) -> Tensor:
        """The small images after dropping and minimization."""
        kept = draws.uniform("drop", small.shape[1:], len(small)).to(small) >= self.drop
        if not self.interleaved:
            return minimized(small, kept, self.weight, self.iterations)
        planes, kept = (x.movedim(1, 3).flatten(2) for x in (small, kept))
        rows = minimized(planes, kept, self.weight, self.iterations)
        return rows.unflatten(2, (-1, small.shape[1])).movedim(3, 1)


def minimized(x: Tensor, kept: Tensor, weight: float, iterations: int) -> Tensor:
    """argmin_Z ||kept (Z - x)||_2 + weight TV_2(Z) of each plane (..., h, w).

    By the first-order method of Chambolle and Pock (2011), its steps chosen so that a dropped
    pixel can cross the range of values at once.
    """
    sigma, tau = weight / 8**0.5, 1 / (weight * 8**0.5)
    z = ahead = torch.where(kept, x, 0.5)
    rows, columns = torch.zeros_like(x[..., 1:, :]), torch.zeros_like(x[..., 1:])
    for _ in range(iterations):
        rows = _in_ball(rows + sigma * ahead.diff(dim=-2), -1, weight)
        columns = _in_ball(columns + sigma * ahead.diff(dim=-1), -2, weight)
        step = z + tau * (_divergence(rows, -2) + _divergence(columns, -1))
        away = torch.where(kept, step - x, 0)
        length = away.flatten(-2).norm(dim=-1)[..., None, None]
        shrunk = x + away * (1 - tau / length.clamp(min=tau))
        before, z = z, torch.where(kept, shrunk, step)
        ahead = 2 * z - before
    return z


def _in_ball(dual: Tensor, dim: int, radius: float) -> Tensor:
    return dual * (radius / dual.norm(dim=dim, keepdim=True).clamp(min=radius))


def _divergence(dual: Tensor, dim: int) -> Tensor:
    """Minus the adjoint of the differences along `dim`."""
    edge = torch.zeros_like(dual.sum(dim, keepdim=True))
    return torch.cat([dual, edge], dim) - torch.cat([edge, dual], dim)
