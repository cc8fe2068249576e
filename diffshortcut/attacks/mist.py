"""Mist: a textural term in the latent and a semantic one in the denoiser (Liang & Wu 2023)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffshortcut.attacks.denoising import embedded, latent_of, posterior_sample, uniform
from diffshortcut.attacks.perturbation import FixedObjective
from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.target import Target
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class Mist(FixedObjective):
    """Towards the latent of a target picture, and away from what the denoiser expects.

    mode: `textural` - sum (z - z_target)^2, `semantic` the denoising loss, `fused` their sum with
    the weight `rate` on the latter. The image is encoded once per step (three times in the released
    code).
    """

    surrogate: LatentDiffusion
    prompt: str
    target_picture: Target
    mode: Literal["fused", "textural", "semantic"] = "fused"
    rate: float = 1e4

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """rate * L_denoise (Eq. 1) - sum (z - z_target)^2."""
        model, context = self.surrogate, embedded(self.surrogate, self.prompt)
        timesteps = uniform(model, draws)
        target = latent_of(self.target_picture, model, scene.clean.shape[-1])

        def loss(x: Tensor, images: range, step: int) -> Tensor:
            z = posterior_sample(model, x, draws, images, step)
            value = torch.zeros(len(x), device=z.device)
            if self.mode != "semantic":
                value = value - (z - target).square().sum((1, 2, 3))
            if self.mode != "textural":
                noise = draws.normal("noise", z.shape[1:], images, step)
                semantic = model.denoising_loss(z, context, timesteps(images, step), noise)
                value = value + (self.rate if self.mode == "fused" else 1) * semantic
            return value

        return loss
