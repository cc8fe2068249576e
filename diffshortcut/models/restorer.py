"""Restore the faces of photos: detect, align, CodeFormer, paste back."""

from pathlib import Path

import torch
from torch import Tensor

from diffshortcut.models.codeformer import CodeFormer
from diffshortcut.models.faces import Face, FaceDetector
from diffshortcut.models.geometry import invert, similarity, warp
from diffshortcut.models.parsenet import Parser
from diffshortcut.models.paste import paste
from diffshortcut.models.remembered import remembered
from diffshortcut.pictures.images import resize
from diffshortcut.weights import locate

# the five landmarks in CodeFormer's (FFHQ's) 512 x 512 crop, in the order of ARCFACE
FFHQ = torch.tensor(
    [
        [192.98138, 239.94708],
        [318.90277, 240.19360],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ],
    device="cpu",
)
OUTSIDE = torch.tensor([132.0, 133.0, 135.0], device="cpu").view(3, 1, 1) / 255  # a crop's filling
EYES = 5.0  # pixels; faces whose eyes are closer are left as they are
GREY = 5.0  # squared 8-bit levels by which the colors of a grey photo may differ
LUMINANCE = torch.tensor([0.2989, 0.5870, 0.1140], device="cpu").view(3, 1, 1)


class Restorer:
    """CodeFormer for whole photos: every face is found, aligned, restored and pasted back.

    If the net's config says `aligned`, the whole image is the face, as in the mini zoo's portraits,
    and neither `detector` nor `parser` is asked. The gradient passes the crops' pixels and the
    pasted ones; places and masks are constant. Steps and numbers are those of CodeFormer's release,
    but that the photo keeps its size and its background, a paste is centered on the pixels, the
    similarity is the least-squares one, and the eyes' distance is that of the eyes.
    """

    def __init__(
        self, *, net: CodeFormer, detector: FaceDetector, parser: Parser | None = None
    ) -> None:
        self.net = net
        self.detector = detector
        self.parser = parser

    def __call__(
        self,
        images: Tensor,
        *,
        fidelity: float = 0.5,
        straight_through: bool = False,
    ) -> Tensor:
        """(n, 3, h, w) in [0, 1] at the same size; without a face found it stays as it is.

        `fidelity` is w: 0 = quality, 1 = fidelity. With `straight_through` the gradient passes.
        """
        options = {"w": fidelity, "straight_through": straight_through}
        x = images.to(next(self.net.parameters()).device)
        with torch.set_grad_enabled(straight_through):
            if self.net.config.aligned:
                return self._restore(x, options).to(images)
            return torch.stack([self._photo(image, options) for image in x]).to(images)

    def _restore(self, faces: Tensor, options: dict) -> Tensor:
        crops = resize(faces, self.net.config.resolution)
        restored = (self.net(crops * 2 - 1, **options)[0] / 2 + 0.5).clamp(0, 1)
        return resize(restored, (faces.shape[-2], faces.shape[-1]))

    def _photo(self, image: Tensor, options: dict) -> Tensor:
        """A photo (3, h, w) that is smaller than a crop is enlarged to find and align its faces."""
        side = self.net.config.resolution
        growth = max(1.0, side / min(image.shape[-2:]))
        size = (round(image.shape[-2] * growth), round(image.shape[-1] * growth))
        photo = resize(image[None], size, mode="bilinear")
        found = [face for face in self.detector.detect(photo)[0] if _eye_distance(face) >= EYES]
        matrices = [similarity(face.points.cpu(), FFHQ * (side / 512)) for face in found]
        if not matrices:
            return image
        crops = torch.stack([aligned(photo[0], matrix, side) for matrix in matrices])
        faces = self._restore(crops, options)
        if is_grey(image):
            faces = (faces * LUMINANCE.to(faces)).sum(1, keepdim=True).expand_as(faces)
        parsed = [None] * len(faces) if self.parser is None else self.parser(faces)
        pasted = image
        for face, matrix, pixels in zip(faces, matrices, parsed, strict=True):
            pasted = paste(pasted, face, matrix @ _enlargement(image, size), pixels)
        return pasted


def aligned(photo: Tensor, matrix: Tensor, side: int) -> Tensor:
    """The crop (3, side, side) that `matrix` maps a photo onto; grey beyond the photo."""
    places = invert(matrix)
    inside = warp(torch.ones_like(photo[:1]), places, side)
    return warp(photo, places, side) + (1 - inside) * OUTSIDE.to(photo)


def is_grey(image: Tensor) -> bool:
    """Whether the colors of (3, h, w) differ by nothing but noise (8-bit variance up to 5)."""
    levels = image.detach() * 255
    return bool((levels - levels.roll(1, 0)).flatten(1).var(1, correction=0).mean() <= GREY)


def _eye_distance(face: Face) -> float:
    return float((face.points[0] - face.points[1]).norm())


def _enlargement(image: Tensor, size: tuple[int, int]) -> Tensor:
    """From pixels of the image to those of the image resized, as a (3, 3) matrix."""
    scale = torch.tensor([size[1] / image.shape[-1], size[0] / image.shape[-2], 1.0], device="cpu")
    matrix = torch.diag(scale)
    matrix[:2, 2] = (scale[:2] - 1) / 2
    return matrix


def load(*, weights: str, detector: FaceDetector, parser: Parser | None = None) -> Restorer:
    """The restorer of config.json and model.safetensors in a folder, or of the released .pth."""
    net = _net(locate(weights), weights, torch.get_default_device())
    return Restorer(net=net, detector=detector, parser=parser)


@remembered
def _net(place: Path, weights: str, device: torch.device) -> CodeFormer:
    net = CodeFormer.read(place) if place.is_dir() else CodeFormer.read_released(weights)
    return net.to(device).requires_grad_(False)
