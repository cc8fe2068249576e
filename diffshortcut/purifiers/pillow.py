"""Tensors through functions of Pillow, in 8 bit as a file would hold them."""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffshortcut.pictures.images import to_uint8


def each(images: Tensor, function: Callable[[Image.Image], Image.Image]) -> Tensor:
    """`function` of every image of (n, 3, h, w) in [0, 1]."""
    return torch.stack([_to_tensor(function(_to_pillow(image))) for image in images]).to(images)


def _to_pillow(image: Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(image).permute(1, 2, 0).cpu().numpy())


def _to_tensor(picture: Image.Image) -> Tensor:
    array = np.asarray(picture.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(array).permute(2, 0, 1)
