"""Gaussian noise, the first half of noisy upscaling (Hönig et al. 2024)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """Add noise of standard deviation `sigma`, in [0, 1]."""

    at_model_size: ClassVar[bool] = True  # else the next link's shrinking averages it away
    sigma: float

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise ValueError(f"sigma cannot be negative: {self.sigma}")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1], noisy and clipped."""
        noise = draws.normal("noise", images.shape[1:], len(images)).to(images)
        return (images + self.sigma * noise).clamp(0, 1)
