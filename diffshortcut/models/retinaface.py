"""RetinaFace with a ResNet-50 (Deng et al. 2020) by facexlib: CodeFormer's own face detector."""

from typing import Any

import torch
from torch import Tensor

from diffshortcut import extras
from diffshortcut.models.faces import Face
from diffshortcut.models.remembered import remembered
from diffshortcut.pictures.images import resize
from diffshortcut.weights.unpickle import unpickled

SCORE = 0.8  # CodeFormer's threshold


class RetinaFace:
    """Faces of photos whose shorter side is enlarged to `size` pixels, if it is less."""

    def __init__(self, *, net: Any, size: int) -> None:
        self.net = net
        self.size = size

    @torch.no_grad()
    def detect(self, images: Tensor) -> list[list[Face]]:
        """Faces of each image of (n, 3, h, w) in [0, 1], the most certain first."""
        height, width = images.shape[-2:]
        scale = max(1.0, self.size / min(height, width))
        target = (int(height * scale), int(width * scale))
        levels = resize(images.detach(), target, mode="bilinear").flip(1) * 255
        arrays = levels.permute(0, 2, 3, 1).cpu().numpy()
        return [
            [_face(row / scale, row[4]) for row in self.net.detect_faces(array, SCORE)]
            for array in arrays
        ]


def _face(row: Any, score: float) -> Face:
    """Of (15,): box, score, five points."""
    numbers = torch.as_tensor(row, dtype=torch.float32, device="cpu")
    return Face(box=numbers[:4], score=float(score), points=numbers[5:].view(5, 2))


def load(*, weights: str, size: int) -> RetinaFace:
    """The net of the released detection_Resnet50_Final.pth; nothing is downloaded."""
    return RetinaFace(net=_net(weights, torch.get_default_device()), size=size)


@remembered
def _net(reference: str, device: torch.device) -> Any:
    source = extras.load("facexlib.detection.retinaface", "full")
    net = source.RetinaFace(network_name="resnet50", device=device)
    state = unpickled(reference)
    net.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    return net.eval().requires_grad_(False)
