"""Surrogates: models that an attack fine-tunes as the victim would, and sets back in place."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffshortcut.dreambooth import Instances, Training


def weights_of(training: Training) -> list[Tensor]:
    """A snapshot of what is trained: the denoiser and the text encoder, not the autoencoder."""
    return [parameter.detach().clone() for parameter in training.model.trainable_parameters()]


@torch.no_grad()
def restore(training: Training, weights: Sequence[Tensor]) -> None:
    """Set a surrogate's weights, in place: an attack of many rounds never copies a model."""
    torch._foreach_copy_(tuple(training.model.trainable_parameters()), tuple(weights))


def fine_tune(training: Training, instances: Instances, steps: int) -> None:
    """`steps` DreamBooth steps with a new AdamW, as the released attacks make one per call.

    The draws and the order of the images go on where the last call stopped, so that every image
    is seen (the released code starts each call at the same few images).
    """
    training.reset_optimizer()
    training.train(instances, steps)
