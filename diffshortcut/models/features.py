"""Inner features of the denoiser."""

import torch
from torch import Tensor

from diffshortcut.models.ldm import LatentDiffusion


def with_features(
    model: LatentDiffusion, z_t: Tensor, t: Tensor, context: Tensor
) -> tuple[Tensor, Tensor]:
    """The denoiser's output at z_t and, of the same pass, `decoder_features`."""
    found: list[Tensor] = []
    blocks = model.unet.up_blocks[-1].resnets
    hooks = [block.register_forward_hook(lambda _, __, out: found.append(out)) for block in blocks]
    try:
        prediction = model.predict(z_t, t, context)
    finally:
        for hook in hooks:
            hook.remove()
    return prediction, torch.cat([features.flatten(1) for features in found], dim=1)


def decoder_features(model: LatentDiffusion, z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
    """What the residual blocks of the last up block give at z_t, flat (n, features).

    Carries the gradient. SimAC's layers 9 to 11 of SD's denoiser.
    """
    return with_features(model, z_t, t, context)[1]
