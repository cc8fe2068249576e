"""ParseNet by facexlib: which pixels of an aligned face are to be pasted back (CodeFormer)."""

from typing import Any

import torch
from torch import Tensor

from diffshortcut import extras
from diffshortcut.models.remembered import remembered
from diffshortcut.pictures.images import resize
from diffshortcut.weights.unpickle import unpickled

SIZE = 512  # pixels
# of ParseNet's 19 classes background, and from 14 on hat, earring, necklace, neck and cloth, where
# the earring (15) is pasted; 1 to 13 are skin, nose, glasses, eyes, brows, ears, mouth, lips, hair
LEFT_OUT = (0, 14, 16, 17, 18)


class Parser:
    """Face pixels of aligned faces."""

    def __init__(self, *, net: Any) -> None:
        self.net = net

    @torch.no_grad()
    def __call__(self, faces: Tensor) -> Tensor:
        """(n, 3, s, s) in [0, 1] to (n, 1, 512, 512), 1 on the face and its hair, else 0."""
        pixels = resize(faces.detach(), SIZE, mode="bilinear") * 2 - 1
        classes = self.net(pixels)[0].argmax(1, keepdim=True)
        return torch.isin(classes, torch.tensor(LEFT_OUT).to(classes), invert=True).to(faces)


def load(*, weights: str) -> Parser:
    """The net of the released parsing_parsenet.pth; nothing is downloaded."""
    return Parser(net=_net(weights, torch.get_default_device()))


@remembered
def _net(reference: str, device: torch.device) -> Any:
    source = extras.load("facexlib.parsing.parsenet", "full")
    net = source.ParseNet(in_size=SIZE, out_size=SIZE, parsing_ch=19)
    net.load_state_dict(unpickled(reference))
    return net.to(device).eval().requires_grad_(False)
