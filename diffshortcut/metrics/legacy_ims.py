"""IMS as MetaCloak's and DiffShortcut's released scores compute it (deepface 0.0.79)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.metrics.identity import Faces, similarity
from diffshortcut.metrics.ims import IMS
from diffshortcut.models.faces import Recognizer
from diffshortcut.models.geometry import align
from diffshortcut.pictures.images import center_square, resize


@dataclass(frozen=True, kw_only=True)
class LegacyIMS(IMS):
    """B counts only references that B takes for the same person, and is -1 if there is none.

    So an image has either -1 or [1 - threshold, 1] from B. Where no face is found B embeds the
    whole image, of references too, and A is -1.
    """

    threshold: float = 0.40  # deepface's, of the cosine distance of VGG-Face

    def scores(self, faces: Faces, references: Faces) -> tuple[Tensor, Tensor]:
        """A and B (n,)."""
        a = similarity(self.recognizer_a, faces, references) - faces.missing
        found, known = (_embeddings(self.recognizer_b, part) for part in (faces, references))
        return a, accepted_mean(found @ known.T, self.threshold)


def accepted_mean(cosines: Tensor, threshold: float) -> Tensor:
    """(n, references) to (n,): the mean cosine of references within a distance, -1 without any."""
    accepted = (1 - cosines <= threshold).to(cosines)
    count = accepted.sum(1)
    return torch.where(count > 0, (cosines * accepted).sum(1) / count.clamp(min=1), -1.0)


def _embeddings(recognizer: Recognizer, faces: Faces) -> Tensor:
    size = recognizer.size
    crops = [
        align(image, face.points, size) if face else resize(center_square(image)[None], size)[0]
        for image, face in zip(faces.images, faces.largest, strict=True)
    ]
    return recognizer.embed(torch.stack(crops))
