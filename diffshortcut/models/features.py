"""Inner features of the denoiser."""

import torch
from torch import Tensor

from diffshortcut.models.ldm import LatentDiffusion


def decoder_features(model: LatentDiffusion, z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
    """What the residual blocks of the last up block give at z_t, flat (n, features).

    Carries the gradient. SimAC's layers 9 to 11 of SD's denoiser.
    """
    found: list[Tensor] = []
    blocks = model.unet.up_blocks[-1].resnets
    hooks = [block.register_forward_hook(lambda _, __, out: found.append(out)) for block in blocks]
    try:
        model.predict(z_t, t, context)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat([features.flatten(1) for features in found], dim=1)
