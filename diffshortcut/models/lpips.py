"""LPIPS (Zhang et al. 2018) of the package lpips, on a trunk whose weights the registry brings."""

from typing import Any, Literal

import torch
from torch import Tensor

from diffshortcut import extras
from diffshortcut.models.perceptual import Perceptual
from diffshortcut.models.remembered import remembered
from diffshortcut.weights.unpickle import unpickled


class Lpips(Perceptual):
    """The package's trunk, input scaling and learned layer weights (version 0.1).

    A layer weight w is never negative, so that its weighted squared difference is the squared
    difference of features times the root of w: the rest is `Perceptual`'s.
    """

    net: Any

    def __init__(self, *, net: Any) -> None:
        self.net = net
        self.normalize = extras.load("lpips", "full").normalize_tensor
        self.roots = [layer.model[-1].weight.detach().sqrt() for layer in net.lins]

    def _features(self, images: Tensor) -> list[Tensor]:
        scaled = self.net.scaling_layer(images.to(self.roots[0].device) * 2 - 1)
        levels = zip(self.net.net(scaled), self.roots, strict=True)
        return [self.normalize(x) * root for x, root in levels]


def load(*, weights: str, net: Literal["vgg", "alex"]) -> Lpips:
    """LPIPS on torchvision's released VGG-16 or AlexNet (a .pth file); nothing is downloaded."""
    return Lpips(net=_net(weights, net, torch.get_default_device()))


@remembered
def _net(reference: str, kind: str, device: torch.device) -> Any:
    net = extras.load("lpips", "full").LPIPS(net=kind, pnet_rand=True, verbose=False)
    state = unpickled(reference)
    # features.10.weight is slice3.10.weight in the package
    names = {name: f"features.{name.partition('.')[2]}" for name in net.net.state_dict()}
    net.net.load_state_dict({name: state[released] for name, released in names.items()})
    return net.to(device).eval().requires_grad_(False)
