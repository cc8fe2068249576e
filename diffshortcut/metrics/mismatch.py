"""Do pictures still look like a person, or like noise, to CLIP? (Figure 2)"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diffshortcut.metrics.evidence import Evidence
from diffshortcut.metrics.rows import Row, image_rows

LABELS = ("noise", "person")
TEMPLATE = "a photo of {}"


def noise_probability(clip: Any, images: Tensor, labels: Sequence[str] = LABELS) -> Tensor:
    """(n,) zero-shot probability of the first label against the others, under TEMPLATE."""
    texts = [TEMPLATE.format(label) for label in labels]
    return clip.probabilities(images, texts)[:, 0].cpu()


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """The mismatch of a picture and its prompt that fine-tuning turns into a shortcut.

    Rows per picture of set_B, `prompt` None: mismatch.clean, mismatch.protected and
    mismatch.purified, CLIP's zero-shot p("noise") against "person".
    """

    clip: Any
    labels: Sequence[str] = LABELS

    def __call__(self, evidence: Evidence) -> list[Row]:
        """Rows of the clean pictures and of both versions."""
        versions = [("clean", evidence.clean), *evidence.versions()]
        return [
            row
            for name, images in versions
            for row in image_rows(
                f"mismatch.{name}",
                noise_probability(self.clip, images, self.labels),
                better="lower",
            )
        ]
