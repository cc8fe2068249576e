"""Differentiable random transforms of images, drawn anew for each image and step."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import radians
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from diffshortcut.pictures.filters import LEAST, gaussian_blur
from diffshortcut.seeding import Draws


class Transform(Protocol):
    """A random transform of images (n, 3, h, w), drawn for `images` (their indices) at `step`.

    It keeps the size and carries the gradient.
    """

    def __call__(self, x: Tensor, draws: Draws, images: range, step: int) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Gaussian blur, sigma uniform in [sigma_min, sigma_max]; lengths in pixels at 512 pixels.

    Of several `kernel`s one is drawn per image.
    """

    kernel: int | Sequence[int]
    sigma_min: float
    sigma_max: float

    def __post_init__(self) -> None:
        kernels = [self.kernel] if isinstance(self.kernel, int) else self.kernel
        if min(kernels, default=0) < LEAST:
            raise ValueError(f"kernel must be at least {LEAST}, or several such, not {self.kernel}")
        if not 0 < self.sigma_min <= self.sigma_max:
            raise ValueError(
                "sigma_min must be above 0 and sigma_max not below it, not"
                f" {self.sigma_min} and {self.sigma_max}"
            )

    def __call__(self, x: Tensor, draws: Draws, images: range, step: int) -> Tensor:
        sigma = _between(draws, "blur", self.sigma_min, self.sigma_max, images, step).to(x)
        if isinstance(self.kernel, int):
            return gaussian_blur(x, kernel=self.kernel, sigma=sigma)
        drawn = draws.integers("blur kernel", len(self.kernel), images, step).tolist()
        kernels = [self.kernel[number] for number in drawn]
        each = zip(x.split(1), kernels, sigma, strict=True)
        return torch.cat([gaussian_blur(one, kernel=k, sigma=s) for one, k, s in each])


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Horizontal mirroring with a probability."""

    probability: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be in [0, 1], not {self.probability}")

    def __call__(self, x: Tensor, draws: Draws, images: range, step: int) -> Tensor:
        coin = draws.uniform("flip", (), images=images, step=step).to(x) < self.probability
        return torch.where(coin[:, None, None, None], x.flip(-1), x)


@dataclass(frozen=True, kw_only=True)
class Jpeg:
    """JPEG with a soft rounding of its coefficients, quality uniform in [low, high]."""

    quality_min: float
    quality_max: float

    def __post_init__(self) -> None:
        if not 1 <= self.quality_min <= self.quality_max <= 100:
            raise ValueError(
                "quality_min must be at least 1, quality_max not below it and at most 100, not"
                f" {self.quality_min} and {self.quality_max}"
            )

    def __call__(self, x: Tensor, draws: Draws, images: range, step: int) -> Tensor:
        from kornia.enhance import jpeg_codec_differentiable  # half a second, only here

        quality = _between(draws, "jpeg", self.quality_min, self.quality_max, images, step)
        return jpeg_codec_differentiable(x, quality.to(x)).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Resize:
    """To a smaller size and back, the factor uniform in [factor_min, 1]."""

    factor_min: float

    def __post_init__(self) -> None:
        if not 0 < self.factor_min <= 1:
            raise ValueError(f"factor_min must be above 0 and at most 1, not {self.factor_min}")

    def __call__(self, x: Tensor, draws: Draws, images: range, step: int) -> Tensor:
        factors = _between(draws, "resize", self.factor_min, 1, images, step).tolist()
        return torch.cat([_there_and_back(x[i : i + 1], f) for i, f in enumerate(factors)])


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A random square of side uniform in [side_min, 1] of the image's, at its full size again."""

    side_min: float

    def __post_init__(self) -> None:
        if not 0 < self.side_min <= 1:
            raise ValueError(f"side_min must be above 0 and at most 1, not {self.side_min}")

    def __call__(self, x: Tensor, draws: Draws, images: range, step: int) -> Tensor:
        side = _between(draws, "crop side", self.side_min, 1, images, step)
        place = draws.uniform("crop place", (2,), images=images, step=step) * 2 - 1
        center = place * (1 - side[:, None])
        zero = torch.zeros_like(side)
        rows = [side, zero, center[:, 0], zero, side, center[:, 1]]
        return _affine(x, torch.stack(rows, dim=1).unflatten(1, (2, 3)))


@dataclass(frozen=True, kw_only=True)
class Rotate:
    """Rotation about the center by an angle uniform in [-degrees, degrees]; edges are repeated."""

    degrees: float

    def __post_init__(self) -> None:
        if self.degrees < 0:
            raise ValueError(f"degrees cannot be negative: {self.degrees}")

    def __call__(self, x: Tensor, draws: Draws, images: range, step: int) -> Tensor:
        most = radians(self.degrees)
        angle = _between(draws, "rotate", -most, most, images, step)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        stretch = x.shape[-1] / x.shape[-2]  # grids are in units of the half sides
        rows = [cos, -sin / stretch, zero, sin * stretch, cos, zero]
        return _affine(x, torch.stack(rows, dim=1).unflatten(1, (2, 3)))


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Normal noise, its deviation (of [0, 1]) uniform in [0, deviation_max]."""

    deviation_max: float

    def __post_init__(self) -> None:
        if self.deviation_max < 0:
            raise ValueError(f"deviation_max cannot be negative: {self.deviation_max}")

    def __call__(self, x: Tensor, draws: Draws, images: range, step: int) -> Tensor:
        deviation = _between(draws, "noise deviation", 0, self.deviation_max, images, step)
        noise = draws.normal("image noise", x.shape[1:], images, step)
        return (x + (deviation[:, None, None, None] * noise).to(x)).clamp(0, 1)


def _between(
    draws: Draws, purpose: str, low: float, high: float, images: range, step: int
) -> Tensor:
    return low + (high - low) * draws.uniform(purpose, (), images=images, step=step)


def _there_and_back(x: Tensor, factor: float) -> Tensor:
    h, w = x.shape[-2:]
    size = (max(round(h * factor), 1), max(round(w * factor), 1))
    small = interpolate(x, size, mode="bilinear", antialias=True)
    return interpolate(small, (h, w), mode="bilinear", antialias=True)


def _affine(x: Tensor, matrix: Tensor) -> Tensor:
    grid = affine_grid(matrix.to(x), list(x.shape), align_corners=False)
    return grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
