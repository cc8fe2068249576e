"""Faces in images and how alike they are."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.errors import UserError
from diffshortcut.models.faces import Face, FaceDetector, Recognizer, aligned_faces, largest


@dataclass(frozen=True)
class Faces:
    """Images (n, 3, h, w) and the largest face of each, None where the detector found none."""

    images: Tensor
    largest: list[Face | None]

    @property
    def missing(self) -> Tensor:
        """(n,) 1 where no face was found, else 0."""
        return torch.tensor([float(face is None) for face in self.largest], device="cpu")

    def embeddings(self, recognizer: Recognizer) -> Tensor:
        """(k, d) of the k images with a face, in order."""
        return recognizer.embed(aligned_faces(self.images, self.largest, recognizer.size))


def find(detector: FaceDetector, images: Tensor) -> Faces:
    """Detects the largest face of each image."""
    return Faces(images=images, largest=[largest(faces) for faces in detector.detect(images)])


def similarity(
    recognizer: Recognizer, faces: Faces, references: Faces, named: str = "reference pictures"
) -> Tensor:
    """(n,) mean cosine of each face to all the references' faces; an image without face has 0.

    References without a face are left out; UserError, which calls them `named`, if none has one.
    """
    if references.missing.all():
        raise UserError(
            f"no face was found in any of the person's {named}: of paintings, write"
            " prompts=style, which compares none"
        )
    scores = torch.zeros(len(faces.images), device="cpu")
    found = faces.missing == 0
    if found.any():
        targets = references.embeddings(recognizer)
        scores[found] = (faces.embeddings(recognizer) @ targets.T).mean(1)
    return scores
