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
        model = self.surrogate
        with torch.no_grad():
            clean = model.posterior(scene.seen(scene.images))

        def loss(x: Tensor, images: range, step: int) -> Tensor:
            where = list(images)
            parts = zip(model.posterior(x), clean, strict=True)
            far = [(new - old[where]).square().mean((1, 2, 3)) for new, old in parts]
            return (far[0] + SMALL).log() + (far[1] + SMALL).log()

        return loss
