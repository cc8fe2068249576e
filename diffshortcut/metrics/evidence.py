"""What a metric may look at: everything one cell knows about one person."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Image batches are (n, 3, h, w) in [0, 1].

    `references` (set_C) and `clean` (set_B) are the person's own pictures, `protected` and
    `purified` are set_B after those stages, `generated` maps each prompt to its images,
    `model` is the folder of the personalized weights, for `LatentDiffusion.with_weights`.
    `generated` and `model` are there for a metric whose config does not say that it `reads` only
    others.
    """

    generated: dict[str, Tensor]
    references: Tensor
    clean: Tensor
    protected: Tensor
    purified: Tensor
    model: Path | None
    draws: Draws

    def versions(self) -> Iterator[tuple[str, Tensor]]:
        """What the trainer could have been given instead of the clean pictures, by name."""
        yield "protected", self.protected
        yield "purified", self.purified
