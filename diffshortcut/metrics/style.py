"""Whose hand is it? Likeness of the generated images to an artist's held-out works."""

from dataclasses import dataclass

from diffshortcut.metrics.evidence import Evidence
from diffshortcut.metrics.rows import Row, image_rows
from diffshortcut.models.clip import Clip


@dataclass(frozen=True, kw_only=True)
class Style:
    """The mean cosine of CLIP's image features to set_C's: the place of IMS without faces.

    One row `style` per image; works of one artist show different subjects, so what they share is
    the hand.
    """

    clip: Clip

    def __call__(self, evidence: Evidence) -> list[Row]:
        """Rows of all prompts."""
        works = self.clip.image_features(evidence.references)
        return [
            row
            for prompt, images in evidence.generated.items()
            for row in image_rows(
                "style",
                (self.clip.image_features(images) @ works.T).mean(1).cpu(),
                better="higher",
                prompt=prompt,
            )
        ]
