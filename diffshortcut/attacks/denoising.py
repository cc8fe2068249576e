"""The loss that most attacks ascend: L_cond of a surrogate (Eq. 4), without a prior term."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.transforms import Transform
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


def denoising_loss(
    model: LatentDiffusion, prompt: str, draws: Draws, transforms: Sequence[Transform] = ()
) -> Loss:
    """Eq. 1 at a fresh posterior sample, timestep and noise per image and step, transformed first.

    The prompt is embedded once, here: make a new loss after the text encoder has been trained.
    """
    with torch.no_grad():
        context = model.encode_prompt([prompt])

    def loss(x: Tensor, images: range, step: int) -> Tensor:
        for transform in transforms:
            x = transform(x, draws, images, step)
        mean, std = model.posterior(x)
        which = (mean.shape[1:], images, step)
        z = model.reparameterize(mean, std, draws.normal("posterior", *which))
        t = draws.integers("timestep", model.num_timesteps, images, step)
        return model.denoising_loss(z, context, t, draws.normal("noise", *which))

    return loss
