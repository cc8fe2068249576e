"""Quality of the generated images: Q = (LIQE renormalized + CLIP-IQAC) / 2 (appendix A.2)."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from diffshortcut.metrics.evidence import Evidence
from diffshortcut.metrics.rows import Row, image_rows


def renormalize(liqe: Tensor) -> Tensor:
    """LIQE's [1, 5] to [-1, 1]: 2 (L - 1) / 4 - 1."""
    return 2 * (liqe - 1) / 4 - 1


class Liqe(Protocol):
    """What has LIQE's role, in either zoo."""

    def score(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] to (n,) in [1 (bad), 5 (perfect)]."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """LIQE's role, CLIP-IQAC and their mean Q, per image.

    CLIP-IQAC = p(good) - p(bad) in [-1, 1] under CLIP's softmax over "a good photo of {subject}"
    and "a bad photo of {subject}"; the subject of a person's pictures is "face" (MetaCloak).
    """

    clip: Any
    liqe: Liqe
    subject: str = "face"

    def __call__(self, evidence: Evidence) -> list[Row]:
        """Rows liqe, clip_iqac and q of all prompts."""
        return [
            row
            for prompt, images in evidence.generated.items()
            for row in self._rows(images, prompt)
        ]

    def _rows(self, images: Tensor, prompt: str) -> list[Row]:
        liqe, iqac = self.liqe.score(images), self.clip_iqac(images)
        q = (renormalize(liqe) + iqac) / 2
        return [
            *image_rows("liqe", liqe, better="higher", prompt=prompt),
            *image_rows("clip_iqac", iqac, better="higher", prompt=prompt),
            *image_rows("q", q, better="higher", prompt=prompt),
        ]

    def clip_iqac(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] to (n,) in [-1, 1]."""
        texts = [f"a {word} photo of {self.subject}" for word in ("good", "bad")]
        good, bad = self.clip.probabilities(images, texts).cpu().unbind(1)
        return good - bad
