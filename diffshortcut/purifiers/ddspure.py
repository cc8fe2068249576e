"""DDSPure (Carlini et al. 2023): as many diffusion steps as the perturbation is large."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.pictures.images import LEVELS, resize
from diffshortcut.purifiers.diffpure import DiffPure, normal
from diffshortcut.purifiers.storage import check_storage, clips, stored
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class DDSPure:
    """Diffuse to the smallest t with sqrt((1 - alpha_bar_t) / alpha_bar_t) >= sigma, and denoise.

    sigma is the attack's radius as the model sees it: 2 radius / 255 in [-1, 1]. `doubled` off is
    the printed rule, which forgets the 2. With `nearest` the timestep before it, if its alpha_bar
    is nearer to that of sigma, as in the paper's released code.
    """

    diffpure: DiffPure
    radius: float  # in 8-bit levels, of the attack that is expected
    one_shot: bool
    doubled: bool = True
    nearest: bool = False
    storage: str = "float"  # of the small picture: float, uint8, truncated or wrapped

    def __post_init__(self) -> None:
        check_storage(self.storage)
        if self.radius < 0:
            raise ValueError(f"radius cannot be negative: {self.radius}")
        if (steps := self.t_star + 1) > self.diffpure.most:
            raise ValueError(
                f"radius={self.radius:g} asks for {steps} steps, and with"
                f" respacing={self.diffpure.respacing or 'null'} there are {self.diffpure.most}:"
                " raise respacing, or lower radius"
            )

    @property
    def t_star(self) -> int:
        """The index on the model's own schedule, at most its last."""
        kept = self.diffpure.model.alpha_bar
        sigma = (1 + self.doubled) * self.radius / LEVELS
        found = min(int((((1 - kept) / kept).sqrt() < sigma).sum()), len(kept) - 1)
        if not self.nearest or found == 0:
            return found
        before, after = (kept[found - 1 : found + 1] - 1 / (1 + sigma**2)).abs()
        return found - int(before < after)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1], at the model's resolution and back to the same size."""
        small = resize(images, self.diffpure.resolution)
        how = {"one_shot": self.one_shot, "clip": clips(self.storage)}
        purified = self.diffpure(small, self.t_star + 1, normal(draws, small), **how)
        return resize(
            stored(purified, self.storage).clamp(0, 1), (images.shape[-2], images.shape[-1])
        )
