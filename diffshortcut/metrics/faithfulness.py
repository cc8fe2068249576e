"""How far protection and purification moved a person's own pictures (Table 2)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.metrics.evidence import Evidence
from diffshortcut.metrics.identity import find, similarity
from diffshortcut.metrics.rows import Row, image_rows
from diffshortcut.models.faces import FaceDetector, Recognizer
from diffshortcut.models.perceptual import Perceptual
from diffshortcut.pictures.images import resize

CEILING = 100.0  # dB, of equal images: a record holds no infinity
WINDOW = 11  # pixels of SSIM's Gaussian, at any resolution


def psnr(images: Tensor, clean: Tensor) -> Tensor:
    """(n,) peak signal-to-noise ratio in dB of batches in [0, 1]; equal images give 100 dB."""
    error = (images - clean).square().mean((1, 2, 3))
    return (-10 * torch.log10(error)).clamp(max=CEILING)


def ssim(images: Tensor, clean: Tensor) -> Tensor:
    """(n,) structural similarity of RGB batches in [0, 1] and of at least 11 pixels.

    As in its paper: only where the window lies inside the image. Mean over pixels and colors;
    equal images give 1.
    """
    from kornia import metrics  # half a second, only here

    index = metrics.ssim(images, clean, window_size=WINDOW, eps=0.0, padding="valid")
    return index.mean((1, 2, 3))


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """Perceptual distance, PSNR, SSIM and kept identity of protected and purified against clean.

    Rows per picture of set_B, `prompt` None: perceptual_*, psnr_*, ssim_*, identity_* (mean cosine
    of recognizer A to the clean pictures' faces; no face = 0), no_face_*, * = protected, purified;
    and perceptual_moved, the distance of purified from protected. Without `detector` and
    `recognizer`, which belong together, there is no identity_* and no_face_*.
    """

    perceptual: Perceptual
    detector: FaceDetector | None = None
    recognizer: Recognizer | None = None

    def __post_init__(self) -> None:
        if (self.detector is None) != (self.recognizer is None):
            raise ValueError("detector and recognizer are given both or neither")

    def __call__(self, evidence: Evidence) -> list[Row]:
        """Rows of both versions of the pictures."""
        clean, size = evidence.clean, evidence.clean.shape[-1]
        versions = {name: resize(images, size) for name, images in evidence.versions()}
        rows = [row for named in versions.items() for row in self._pixels(*named, clean)]
        with torch.no_grad():
            moved = self.perceptual.distance(versions["purified"], versions["protected"])
        rows += image_rows("perceptual_moved", moved, better="lower")
        return [*rows, *self._faces(versions, clean)]

    def _pixels(self, name: str, images: Tensor, clean: Tensor) -> list[Row]:
        with torch.no_grad():
            distance = self.perceptual.distance(images, clean)
        return [
            *image_rows(f"perceptual_{name}", distance, better="lower"),
            *image_rows(f"psnr_{name}", psnr(images, clean), better="higher"),
            *image_rows(f"ssim_{name}", ssim(images, clean), better="higher"),
        ]

    def _faces(self, versions: Mapping[str, Tensor], clean: Tensor) -> list[Row]:
        if self.detector is None or self.recognizer is None:
            return []
        known, rows = find(self.detector, clean), []
        for name, images in versions.items():
            faces = find(self.detector, images)
            kept = similarity(self.recognizer, faces, known, "pictures of set_B")
            rows += image_rows(f"identity_{name}", kept, better="higher")
            rows += image_rows(f"no_face_{name}", faces.missing, better="lower")
        return rows
