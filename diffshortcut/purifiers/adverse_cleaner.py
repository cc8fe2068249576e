"""AdverseCleaner (Zhang 2023): many bilateral filters, then guided filters by the picture."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffshortcut.pictures.filters import scaled_kernel
from diffshortcut.pictures.images import LEVELS
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class AdverseCleaner:
    """Lengths in pixels at 512 pixels; `sigma_color` in 8-bit levels, `epsilon` in their square.

    The kernels grow with the picture: time goes with the fourth power of its side.
    """

    at_model_size: ClassVar[bool] = True
    bilateral_filters: int
    diameter: int
    sigma_color: float
    sigma_space: float
    guided_filters: int
    guided_radius: int
    epsilon: float

    def __post_init__(self) -> None:
        if min(self.bilateral_filters, self.guided_filters, self.guided_radius) < 0:
            raise ValueError("filters and guided_radius must be at least 0")
        if self.diameter < 1 or min(self.sigma_color, self.sigma_space, self.epsilon) <= 0:
            raise ValueError("diameter must be at least 1; both sigmas and epsilon above 0")

    @torch.no_grad()
    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1]."""
        from kornia import filters  # half a second, only here

        side = min(images.shape[-2:])
        width, box = (scaled_kernel(k, side) for k in (self.diameter, 2 * self.guided_radius + 1))
        space = self.sigma_space * width / self.diameter
        x = images
        for _ in range(self.bilateral_filters):
            x = filters.bilateral_blur(
                x, width, self.sigma_color / LEVELS, (space, space), color_distance_type="l1"
            )
        for _ in range(self.guided_filters):
            x = filters.guided_blur(images, x, box, self.epsilon / LEVELS**2)
        return x.clamp(0, 1)
