"""DiffPure (Nie et al. 2022) with a pixel diffusion model: noise a little, then denoise.

The released code of the paper has four slips. Three have a switch here: pictures in [0, 1] for a
model of [-1, 1], a schedule respaced to 250 timesteps on which an index means a timestep four times
as large, and a loop that ends before index 0. The fourth, 8-bit levels that wrap around, is the
`storage` of what calls this, GridPure and DDSPure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from diffshortcut.errors import UserError
from diffshortcut.models.pixel_diffusion import PixelDiffusion
from diffshortcut.pictures.images import resize
from diffshortcut.seeding import Draws

Noise = Callable[[str, int], Tensor]  # standard normal, of a purpose and a timestep


@dataclass(frozen=True, kw_only=True)
class DiffPure:
    """DiffPure(x, t) of images at the model's own resolution."""

    model: PixelDiffusion
    respacing: int | None = None  # timesteps of the schedule; None: all
    unit_range: bool = False  # leave images in [0, 1]
    skip_last: bool = False  # begin at index t instead of t - 1 and end before index 0
    micro_batch: int | None = None  # images in memory at once; None: all

    def __post_init__(self) -> None:
        if self.respacing is None:
            return
        if self.respacing < 2:
            raise ValueError(f"respacing must be null or at least 2, not {self.respacing}")
        if self.respacing > (trained := len(self.model.alpha_bar)):
            raise ValueError(f"respacing must be at most {trained}, not {self.respacing}")

    @property
    def resolution(self) -> int:
        """The model's, in pixels."""
        return self.model.resolution

    @property
    def most(self) -> int:
        """The largest t that the schedule has."""
        return len(self._schedule.alpha_bar) - self.skip_last

    @cached_property
    def _schedule(self) -> PixelDiffusion:
        return self.model if self.respacing is None else self.model.respaced(self.respacing)

    @torch.no_grad()
    def __call__(
        self, images: Tensor, t: int, noise: Noise, *, one_shot: bool = False, clip: bool = True
    ) -> Tensor:
        """(m, 3, r, r) in [0, 1], diffused t steps and denoised as many.

        With `one_shot` what the denoiser takes the noised images for at once. Only with
        `unit_range`, or with `skip_last` and without `clip`, can the result lie outside of [0, 1]:
        the mean of the last step is the denoiser's clean image, which is clipped always.
        """
        model = self._schedule
        if not 1 <= t <= self.most:
            raise UserError(f"t must be between 1 and {self.most}, not {t}")
        start, end = (t, 1) if self.skip_last else (t - 1, 0)
        x = images.to(model.device)
        x = model.q_sample(x if self.unit_range else model.to_model(x), start, noise("diffuse", 0))
        parts = list(x.split(self.micro_batch or len(x)))
        if one_shot:
            x = torch.cat([model.predict(part, start).clean for part in parts])
        else:
            for i in range(start, end - 1, -1):
                drawn = noise("denoise", i).split(self.micro_batch or len(x))
                pairs = zip(parts, drawn, strict=True)
                parts = [model.p_sample(part, i, fresh) for part, fresh in pairs]
            x = torch.cat(parts)
        return (x if self.unit_range else model.to_images(x, clip=clip)).to(images)


@dataclass(frozen=True, kw_only=True)
class PixelDiffPure:
    """DiffPure of whole images at the model's resolution, whatever their aspect, and back.

    Bicubic with antialiasing, or bilinear without, as in DiffPure's own code.
    """

    diffpure: DiffPure
    t: int
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"

    def __post_init__(self) -> None:
        check_steps(self.t)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1] at the same size."""
        small = self._resized(images, self.diffpure.resolution)
        purified = self.diffpure(small, self.t, normal(draws, small))
        return self._resized(purified.clamp(0, 1), (images.shape[-2], images.shape[-1]))

    def _resized(self, x: Tensor, size: int | tuple[int, int]) -> Tensor:
        return resize(x, size, self.interpolation, antialias=self.interpolation == "bicubic")


def check_steps(t: int) -> None:
    """ValueError if nothing is diffused; how many steps there are only a loaded model knows."""
    if t < 1:
        raise ValueError(f"t must be at least 1, not {t}")


def normal(draws: Draws, images: Tensor) -> Noise:
    """Noise like the images, a draw of its own for each image, purpose and timestep."""
    return lambda purpose, step: draws.normal(purpose, images.shape[1:], len(images), step)
