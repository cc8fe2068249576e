"""Identity Matching Similarity of the generated images (paper section 5.1, appendix A.2)."""

import logging
from dataclasses import dataclass

from torch import Tensor

from diffshortcut.metrics.evidence import Evidence
from diffshortcut.metrics.identity import Faces, find, similarity
from diffshortcut.metrics.rows import Row, image_rows
from diffshortcut.models.faces import FaceDetector, Recognizer

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class IMS:
    """IMS = w A + (1 - w) B, A and B the mean cosines to set_C by two recognizers (w = 0.7).

    Rows per image: ims, ims_a, ims_b and no_face (1 if the detector found none; IMS is 0 then).
    """

    detector: FaceDetector
    recognizer_a: Recognizer
    recognizer_b: Recognizer
    weight: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must lie in [0, 1], not {self.weight}")

    def __call__(self, evidence: Evidence) -> list[Row]:
        """Rows of all prompts."""
        references = find(self.detector, evidence.references)
        if lacking := int(references.missing.sum()):
            log.warning(
                "IMS leaves out %d of %d reference pictures, in which no face was found",
                lacking,
                len(references.largest),
            )
        return [
            row
            for prompt, images in evidence.generated.items()
            for row in self._rows(find(self.detector, images), references, prompt)
        ]

    def scores(self, faces: Faces, references: Faces) -> tuple[Tensor, Tensor]:
        """A and B (n,), 0 where no face was found."""
        a, b = (similarity(r, faces, references) for r in (self.recognizer_a, self.recognizer_b))
        return a, b

    def _rows(self, faces: Faces, references: Faces, prompt: str) -> list[Row]:
        a, b = self.scores(faces, references)
        ims = self.weight * a + (1 - self.weight) * b
        return [
            *image_rows("ims", ims, better="higher", prompt=prompt),
            *image_rows("ims_a", a, better="higher", prompt=prompt),
            *image_rows("ims_b", b, better="higher", prompt=prompt),
            *image_rows("no_face", faces.missing, better="lower", prompt=prompt),
        ]
