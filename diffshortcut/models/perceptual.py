"""The role of LPIPS (Zhang et al. 2018): a distance of images in the features of a trained net."""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from diffshortcut import weights as references
from diffshortcut.models.nets import RecognizerBNet, load_net


class Perceptual:
    """LPIPS with unit layer weights on the convolutional trunk of recognizer B."""

    def __init__(self, *, net: RecognizerBNet) -> None:
        self.net = net

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """(n,) >= 0 between batches (n, 3, h, w) in [0, 1], 0 of equal images; differentiable.

        Features are unit vectors over channels; their squared differences are averaged over
        space and summed over layers (the paper's Table 2 prints LPIPS).
        """
        total = torch.zeros(len(a), device=a.device)
        for left, right in zip(self._features(a), self._features(b), strict=True):
            total = total + (left - right).square().sum(1).mean((1, 2)).to(a.device)
        return total

    def _features(self, images: Tensor) -> list[Tensor]:
        device = next(self.net.parameters()).device
        levels = self.net.features(images.to(device) * 2 - 1)
        return [functional.normalize(level, dim=1) for level in levels]


@cache
def load(*, weights: str) -> Perceptual:
    """From recognizer B's folder."""
    return Perceptual(net=load_net(RecognizerBNet, references.locate(weights)))
