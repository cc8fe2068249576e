"""Overlapping windows of images, and the way back: the mean of all windows over a pixel."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Squares of `size` pixels every `stride` pixels; the last ones end at the border.

    With `corners` one more is put together from the four corners of the image, each half as large,
    which no other window shares: so the corners too are averaged.
    """

    size: int
    stride: int
    corners: bool = False

    def __post_init__(self) -> None:
        if self.corners and self.size % 2:
            raise ValueError(f"a window of four corners cannot be {self.size} pixels wide")

    def cut(self, images: Tensor) -> Tensor:
        """(n, 3, h, w), not smaller than a window, to (n, windows, 3, size, size)."""
        parts = [images[(..., *place)] for place in self._places(images.shape)]
        if self.corners:
            parts.append(_quartered([images[(..., *c)] for c in self._corners(images.shape)]))
        return torch.stack(parts, dim=1)

    def merge(self, windows: Tensor, shape: torch.Size) -> Tensor:
        """Windows of images of a shape (n, 3, h, w), put together."""
        total, count = windows.new_zeros(shape), windows.new_zeros(shape[-2:])
        parts = list(zip(windows.unbind(1), self._places(shape), strict=False))
        if self.corners:
            half = Windows(self.size // 2, self.size // 2)
            parts += zip(half.cut(windows[:, -1]).unbind(1), self._corners(shape), strict=True)
        for part, place in parts:
            total[(..., *place)] += part
            count[place] += 1
        return total / count

    def _places(self, shape: torch.Size) -> Iterator[tuple[slice, slice]]:
        for top in _starts(shape[-2], self.size, self.stride):
            for left in _starts(shape[-1], self.size, self.stride):
                yield slice(top, top + self.size), slice(left, left + self.size)

    def _corners(self, shape: torch.Size) -> Iterator[tuple[slice, slice]]:
        half = self.size // 2
        for top in (0, shape[-2] - half):
            for left in (0, shape[-1] - half):
                yield slice(top, top + half), slice(left, left + half)


def _starts(length: int, size: int, stride: int) -> list[int]:
    last = length - size
    return [*range(0, last, stride), last]


def _quartered(corners: list[Tensor]) -> Tensor:
    top, bottom = (torch.cat(corners[i : i + 2], dim=-1) for i in (0, 2))
    return torch.cat([top, bottom], dim=-2)
