"""Restore the faces of photos: detect, align, CodeFormer, paste back."""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from diffshortcut.images import resize
from diffshortcut.models.codeformer import CodeFormer
from diffshortcut.models.faces import Detector, Face
from diffshortcut.models.geometry import invert, similarity, warp
from diffshortcut.weights import locate

# the five landmarks in CodeFormer's (FFHQ's) 512 x 512 crop, in the order of ARCFACE
FFHQ = torch.tensor(
    [
        [192.98138, 239.94708],
        [318.90277, 240.19360],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)


class Restorer:
    """CodeFormer for whole photos.

    If the net's config says `aligned`, the whole image is the face, as in the mini zoo's portraits.
    """

    def __init__(self, *, net: CodeFormer, detector: Detector) -> None:
        self.net = net
        self.detector = detector

    def __call__(
        self,
        images: Tensor,
        *,
        fidelity: float = 0.5,
        adain: bool = True,
        straight_through: bool = False,
    ) -> Tensor:
        """(n, 3, h, w) in [0, 1] at the same size; without a face found it stays as it is.

        `fidelity` is w: 0 = quality, 1 = fidelity. With `straight_through` the gradient passes.
        """
        options = {"w": fidelity, "adain": adain, "straight_through": straight_through}
        with torch.set_grad_enabled(straight_through):
            if self.net.config.aligned:
                return self._restore(images, options)
            found = self.detector.detect(images)
            pairs = zip(images, found, strict=True)
            return torch.stack([self._faces(image, faces, options) for image, faces in pairs])

    def _restore(self, faces: Tensor, options: dict) -> Tensor:
        crops = resize(faces, self.net.config.resolution)
        restored = (self.net(crops * 2 - 1, **options)[0] / 2 + 0.5).clamp(0, 1)
        return resize(restored, (faces.shape[-2], faces.shape[-1]))

    def _faces(self, image: Tensor, faces: list[Face], options: dict) -> Tensor:
        side = self.net.config.resolution
        for face in faces:
            matrix = similarity(face.points.cpu(), FFHQ * (side / 512))
            crop = warp(image, invert(matrix), side)[None]
            image = self._paste(image, self._restore(crop, options)[0], matrix)
        return image

    def _paste(self, image: Tensor, crop: Tensor, matrix: Tensor) -> Tensor:
        size = (image.shape[-2], image.shape[-1])
        weight = warp(soft_mask(crop.shape[-1]).to(crop), matrix, size)
        return image + weight * (warp(crop, matrix, size) - image)


def soft_mask(side: int) -> Tensor:
    """(1, side, side): 1 inside, falling to 0 over the outer tenth."""
    places = (torch.arange(side) + 0.5) / side
    edge = (torch.minimum(places, 1 - places) / 0.1).clamp(0, 1)
    return torch.minimum(edge[:, None], edge[None])[None]


def load(*, weights: str, detector: Detector) -> Restorer:
    """The restorer of config.json and model.safetensors in a folder, or of the released .pth."""
    return Restorer(net=_net(locate(weights), torch.get_default_device()), detector=detector)


@cache
def _net(place: Path, device: torch.device) -> CodeFormer:
    net = CodeFormer.read(place) if place.is_dir() else CodeFormer.read_released(place)
    return net.to(device).requires_grad_(False)
