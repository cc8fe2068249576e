"""PID, prompt-independent data protection (Li et al. 2024): the encoder alone, no prompt."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.attacks.perturbation import FixedObjective
from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws

SMALL = 1e-8  # the logarithm's argument is 0 at the clean image


@dataclass(frozen=True, kw_only=True)
class PID(FixedObjective):
    """Move the encoder's mean and its standard deviation away from those of the clean image.

    The logarithms of both squared distances are added, so that neither scale rules the other.
    """

    surrogate: LatentDiffusion

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """log ||mu(x) - mu(x_0)||^2 + log ||sigma(x) - sigma(x_0)||^2 (means over the latent)."""
        clean = self.beside(scene.seen(scene.images), draws, self._posterior)

        def loss(x: Tensor, images: range, step: int) -> Tensor:
            far = (self._posterior(x) - clean(images, step)).square().mean((2, 3, 4))
            return (far + SMALL).log().sum(1)

        return loss

    def _posterior(self, images: Tensor) -> Tensor:
        """(n, 2, c, h, w): mean and standard deviation."""
        return torch.stack(self.surrogate.posterior(images), dim=1)
