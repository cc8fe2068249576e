"""InsightFace's antelopev2 (Deng et al. 2019; Guo et al. 2022): SCRFD detector, ArcFace recognizer.

InsightFace's own classes run the files, on the CPU: (n, 3, h, w) in [0, 1] RGB is given to them as
the 8-bit BGR arrays that they expect. A direct path is loaded; nothing is downloaded.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffshortcut import extras
from diffshortcut import weights as references
from diffshortcut.errors import UserError
from diffshortcut.models.faces import Face, Recognizer
from diffshortcut.models.remembered import remembered
from diffshortcut.pictures.images import to_uint8

BATCH = 64  # aligned faces at once


class Scrfd:
    """Faces by SCRFD at the first of `sizes` that finds one; a face may be too large for 640."""

    def __init__(self, *, net: Any, sizes: Sequence[int]) -> None:
        self.net = net
        self.sizes = sizes

    def detect(self, images: Tensor) -> list[list[Face]]:
        """Faces of each image of (n, 3, h, w) in [0, 1], the most certain first."""
        return [self._faces(array) for array in _arrays(images)]

    def _faces(self, array: np.ndarray) -> list[Face]:
        for size in self.sizes:
            boxes, points = self.net.detect(array, input_size=(size, size))
            if len(boxes):
                return [
                    Face(box=torch.from_numpy(b[:4]), score=float(b[4]), points=torch.from_numpy(p))
                    for b, p in zip(boxes, points, strict=True)
                ]
        return []


class ArcFace:
    """The 512-d features of aligned faces: (n, 3, 112, 112) in [-1, 1] to (n, 512)."""

    def __init__(self, *, net: Any) -> None:
        self.net = net
        fixed = net.input_shape[0]
        self.batch = fixed if isinstance(fixed, int) else BATCH

    def __call__(self, x: Tensor) -> Tensor:
        """As InsightFace computes them from 8-bit pictures, not normalized."""
        arrays = _arrays(x / 2 + 0.5)
        parts = [arrays[i : i + self.batch] for i in range(0, len(arrays), self.batch)]
        return torch.cat([torch.from_numpy(self.net.get_feat(part)) for part in parts])


def _arrays(images: Tensor) -> list[np.ndarray]:
    """8-bit (h, w, 3) BGR arrays."""
    return list(to_uint8(images.detach()).flip(1).permute(0, 2, 3, 1).contiguous().cpu().numpy())


def load_detector(*, weights: str, sizes: Sequence[int]) -> Scrfd:
    """SCRFD of an ONNX file; `sizes` are tried in order, an image being fitted into a square."""
    return Scrfd(net=_net(weights, "detection"), sizes=sizes)


def load_recognizer(*, weights: str) -> Recognizer:
    """ArcFace of an ONNX file, 512-d (glintr100: IMS's first part, weight 0.7)."""
    net = _net(weights, "recognition")
    return Recognizer(net=ArcFace(net=net), size=net.input_size[0])


@remembered
def _net(reference: str, task: str) -> Any:
    path = references.locate(reference)
    zoo = extras.load("insightface.model_zoo", "full")
    net = zoo.get_model(str(path), providers=["CPUExecutionProvider"])
    found = getattr(net, "taskname", None)
    if found != task:
        raise UserError(f"{path.name} is no {task} model of InsightFace (found: {found})")
    return net
