"""VGG-Face (Parkhi et al. 2015) through DeepFace: recognizer B of the full zoo."""

from typing import Any, Literal

import torch
from torch import Tensor

from diffshortcut import extras
from diffshortcut.models.faces import Recognizer
from diffshortcut.models.remembered import remembered
from diffshortcut.weights.unpickle import unpickled

SIZE = 224  # pixels


class Descriptors:
    """Faces (n, 3, 224, 224) in [-1, 1] RGB to (n, descriptor), not normalized; differentiable.

    DeepFace since 0.0.80 reads the 4096 activations of fc7. Before, and so in MetaCloak's scores,
    it read the 2622 values of fc8 before their softmax.
    """

    def __init__(self, *, net: Any, descriptor: Literal[4096, 2622]) -> None:
        self.net = net
        self.descriptor = descriptor

    def __call__(self, x: Tensor) -> Tensor:
        """The net expects BGR in [0, 1]."""
        features = self.net.embed(x.flip(1) / 2 + 0.5)
        if self.descriptor == 4096:
            return features
        return self.net.fc8(features[:, :, None, None]).flatten(1)


def load(*, weights: str, descriptor: Literal[4096, 2622] = 4096) -> Recognizer:
    """DeepFace's net with the vgg_face_weights.pth of a weight reference; nothing is downloaded."""
    net = _net(weights, torch.get_default_device())
    return Recognizer(net=Descriptors(net=net, descriptor=descriptor), size=SIZE)


@remembered
def _net(reference: str, device: torch.device) -> Any:
    source = extras.load("deepface.models.facial_recognition.pytorch.VGGFace", "full")
    net = source.base_model()
    net.load_state_dict(unpickled(reference))
    return net.to(device).eval().requires_grad_(False)
