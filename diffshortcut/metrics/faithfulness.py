"""How far protection and purification moved a person's own pictures (Table 2)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.images import resize
from diffshortcut.metrics.evidence import Evidence
from diffshortcut.metrics.identity import Faces, find, similarity
from diffshortcut.metrics.rows import Row, image_rows
from diffshortcut.models.faces import FaceDetector, Recognizer
from diffshortcut.models.perceptual import Perceptual

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
    and perceptual_moved, the distance of purified from protected.
    """

    perceptual: Perceptual
    detector: FaceDetector
    recognizer: Recognizer

    def __call__(self, evidence: Evidence) -> list[Row]:
        """Rows of both versions of the pictures."""
        clean, size = find(self.detector, evidence.clean), evidence.clean.shape[-1]
        rows = [
            row
            for name, images in evidence.versions()
            for row in self._rows(name, resize(images, size), clean)
        ]
        with torch.no_grad():
            pair = (resize(images, size) for images in (evidence.purified, evidence.protected))
            moved = self.perceptual.distance(*pair)
        return [*rows, *image_rows("perceptual_moved", moved, better="lower")]

    def _rows(self, name: str, images: Tensor, clean: Faces) -> list[Row]:
        faces = find(self.detector, images)
        kept = similarity(self.recognizer, faces, clean)
        with torch.no_grad():
            distance = self.perceptual.distance(images, clean.images)
        return [
            *image_rows(f"perceptual_{name}", distance, better="lower"),
            *image_rows(f"psnr_{name}", psnr(images, clean.images), better="higher"),
            *image_rows(f"ssim_{name}", ssim(images, clean.images), better="higher"),
            *image_rows(f"identity_{name}", kept, better="higher"),
            *image_rows(f"no_face_{name}", faces.missing, better="lower"),
        ]
