"""No protection: the clean arm of a comparison."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.attacks.scene import Scene
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class NoAttack:
    """The clean images, unchanged."""

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """set_B itself."""
        return scene.images
