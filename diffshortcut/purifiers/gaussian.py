"""Gaussian filter ("Gaussian F." of Table 1)."""

from dataclasses import dataclass

from PIL import ImageFilter
from torch import Tensor

from diffshortcut.pictures.filters import LEAST, REFERENCE, gaussian_blur
from diffshortcut.purifiers import pillow
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """A kernel x kernel Gaussian as the paper prints it; lengths in pixels at 512 pixels."""

    kernel: int
    sigma: float

    def __post_init__(self) -> None:
        if self.kernel < LEAST or self.kernel % 2 == 0 or self.sigma <= 0:
            raise ValueError(f"kernel must be odd and at least {LEAST}, sigma above 0")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1], blurred."""
        return gaussian_blur(images, kernel=self.kernel, sigma=self.sigma)


@dataclass(frozen=True, kw_only=True)
class PillowGaussian:
    """What the released code does: Pillow's GaussianBlur, whose `radius` is a sigma, not a kernel.

    With its radius of 5 pixels (at 512) this is a far stronger blur than the 5 x 5 kernel printed.
    """

    radius: float

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise ValueError(f"radius cannot be negative: {self.radius}")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1], blurred in 8 bit."""
        blur = ImageFilter.GaussianBlur(self.radius * min(images.shape[-2:]) / REFERENCE)
        return pillow.each(images, lambda picture: picture.filter(blur))
