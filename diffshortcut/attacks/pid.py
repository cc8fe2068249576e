"""PID, prompt-independent data protection (Li et al. 2024): the encoder alone, no prompt."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.attacks.perturbation import FixedObjective
from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class PID(FixedObjective):
    """Move the encoder's mean and its log variance away from those of the clean image.

    The logarithm brings the variance, which is tiny, to the scale of the mean.
    """

    surrogate: LatentDiffusion

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """mse(mu(x), mu(x_0)) + mse(log sigma^2(x), log sigma^2(x_0)), of unscaled latents."""
        clean = self.beside(scene.seen(scene.images), draws, self._posterior)

        def loss(x: Tensor, images: range, step: int) -> Tensor:
            far = (self._posterior(x) - clean(images, step)).square()
            return far.mean((2, 3, 4)).sum(1)

        return loss

    def _posterior(self, images: Tensor) -> Tensor:
        """(n, 2, c, h, w): mean and log variance."""
        mean, std = self.surrogate.posterior(images)
        return torch.stack([mean, 2 * std.log()], dim=1)
