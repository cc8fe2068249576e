"""The l_inf ball around the clean images that every perturbation stays in; in 8-bit levels."""

from math import floor

from torch import Tensor

from diffshortcut.pictures.images import LEVELS
from diffshortcut.seeding import Draws


def project(x: Tensor, clean: Tensor, radius: float) -> Tensor:
    """The nearest images in [0, 1] that differ from `clean` by at most `radius` levels.

    A radius of 6.6 counts as 6.49, so that rounding to 8 bit does not leave the ball.
    """
    ball = min(radius, floor(radius) + 0.49) / LEVELS
    return x.clamp(clean - ball, clean + ball).clamp(0, 1)


def random_start(clean: Tensor, radius: float, draws: Draws) -> Tensor:
    """A uniform draw from the ball around `clean`, (n, 3, h, w), within [0, 1]."""
    unit = draws.uniform("random start", clean.shape[1:], images=len(clean)).to(clean)
    return project(clean + (2 * unit - 1) * (radius / LEVELS), clean, radius)


def check_budget(*, radius: float, step: float = 0) -> None:
    """ValueError if a radius or a step is negative, or a radius moves no 8-bit level."""
    if radius < 0 or step < 0:
        raise ValueError(f"radius and step cannot be negative: {radius}, {step}")
    if 0 < radius < 1:
        meant = f"{radius * LEVELS:.4g}, which is {radius} of [0, 1]"
        raise ValueError(
            f"radius is in 8-bit levels, and {radius} moves none: did you mean {meant}?"
        )
