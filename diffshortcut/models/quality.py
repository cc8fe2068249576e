"""The role of LIQE (Zhang et al. 2023): image quality without a reference, from CLIP features."""

from typing import Any

import torch
from torch import Tensor

from diffshortcut import weights as references
from diffshortcut.models.nets import QualityHead, load_net


class Quality:
    """A head on the image features of a CLIP model."""

    def __init__(self, *, head: QualityHead, clip: Any) -> None:
        self.head = head
        self.clip = clip

    @torch.no_grad()
    def score(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] to (n,) in [1 (bad), 5 (perfect)]."""
        return self.head(self.clip.image_features(images)).cpu()


def load(*, weights: str, clip: Any) -> Quality:
    """From a folder of config.json and model.safetensors; `clip` as `models/clip.py` loads it."""
    return Quality(head=load_net(QualityHead, references.locate(weights)), clip=clip)
