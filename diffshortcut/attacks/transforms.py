"""Expectation over transformation: differentiable image transforms drawn per image and step."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from diffshortcut.filters import gaussian_blur
from diffshortcut.seeding import Draws


class Transform(Protocol):
    """A random transform of images (n, 3, h, w), drawn for `images` (their indices) at `step`."""

    def __call__(self, x: Tensor, draws: Draws, images: range, step: int) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Gaussian blur, sigma uniform in [sigma_min, sigma_max]; lengths in pixels at 512 pixels."""

    kernel: int
    sigma_min: float
    sigma_max: float

    def __call__(self, x: Tensor, draws: Draws, images: range, step: int) -> Tensor:
        unit = draws.uniform("blur", (), images=images, step=step).to(x)
        sigma = self.sigma_min + (self.sigma_max - self.sigma_min) * unit
        return gaussian_blur(x, kernel=self.kernel, sigma=sigma)


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Horizontal mirroring with a probability."""

    probability: float

    def __call__(self, x: Tensor, draws: Draws, images: range, step: int) -> Tensor:
        coin = draws.uniform("flip", (), images=images, step=step).to(x) < self.probability
        return torch.where(coin[:, None, None, None], x.flip(-1), x)
