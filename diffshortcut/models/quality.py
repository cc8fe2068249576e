"""The role of LIQE (Zhang et al. 2023): image quality without a reference."""

import torch
from torch import Tensor

from diffshortcut import weights as references
from diffshortcut.models.nets import QualityNet, load_net


class Quality:
    """A net that scores pictures of any size."""

    def __init__(self, *, net: QualityNet) -> None:
        self.net = net

    @torch.no_grad()
    def score(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] to (n,) in [1 (bad), 5 (perfect)]."""
        return self.net(images.to(self.net.levels.device)).cpu()


def load(*, weights: str) -> Quality:
    """From a folder of config.json and model.safetensors."""
    return Quality(net=load_net(QualityNet, references.locate(weights)))
