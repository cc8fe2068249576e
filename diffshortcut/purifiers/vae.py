"""The round trip through the autoencoder: the least that purifying in its latents does."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.pictures.images import cropped, grown
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class RoundTrip:
    """D(E(x)), with the mean of the posterior."""

    model: LatentDiffusion

    @torch.no_grad()
    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1] at the same size."""
        decoded = self.model.decode(self.model.encode(grown(images, multiple=self.model.factor)))
        return cropped(decoded, images).to(images)
