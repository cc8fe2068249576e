"""The role of LPIPS (Zhang et al. 2018): a distance of images in the features of a trained net."""

from collections.abc import Callable

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
        return self.toward(b)(a)

    def toward(self, target: Tensor) -> Callable[[Tensor], Tensor]:
        """The distance to fixed images, whose features are computed once."""
        fixed = self._features(target)

        def distance(images: Tensor) -> Tensor:
            total = torch.zeros(len(images), device=images.device)
            for left, right in zip(self._features(images), fixed, strict=True):
                total = total + (left - right).square().sum(1).mean((1, 2)).to(images.device)
            return total

        return distance

    def _features(self, images: Tensor) -> list[Tensor]:
        device = next(self.net.parameters()).device
        levels = self.net.features(images.to(device) * 2 - 1)
        return [functional.normalize(level, dim=1) for level in levels]


def load(*, weights: str) -> Perceptual:
    """From recognizer B's folder."""
    return Perceptual(net=load_net(RecognizerBNet, references.locate(weights)))
