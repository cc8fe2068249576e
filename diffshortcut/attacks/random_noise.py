"""Random sign noise: what a perturbation of the same size does without any optimization."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.attacks.ball import check_budget, project
from diffshortcut.attacks.scene import Scene
from diffshortcut.pictures.images import LEVELS
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class RandomNoise:
    """Each sub-pixel moves by +radius or -radius (8-bit levels), by the toss of a fair coin."""

    radius: float

    def __post_init__(self) -> None:
        check_budget(radius=self.radius)

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """set_B with noise, (n, 3, h, w) in [0, 1]."""
        clean = scene.images
        coin = draws.signs("coin", clean.shape[1:], images=len(clean)).to(clean)
        return project(clean + coin * (self.radius / LEVELS), clean, self.radius)
