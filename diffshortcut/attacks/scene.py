"""What an attack may see of one person."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffshortcut.artifacts.checkpoint import Checkpoint, Variables
from diffshortcut.attacks.record import Record
from diffshortcut.errors import UserError
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.pictures.images import center_square, resize


@dataclass(frozen=True)
class View:
    """How models see photos of any size: the center square, at the models' resolution.

    The photos lie in the top left corners of one batch; `sizes` are their heights and widths.
    """

    resolution: int
    sizes: tuple[tuple[int, int], ...]

    def __call__(self, x: Tensor, images: range) -> Tensor:
        """(n, 3, resolution, resolution) of photos (n, 3, h, w); carries the gradient."""
        photos = zip(x, (self.sizes[i] for i in images), strict=True)
        squares = (center_square(photo[..., :h, :w]) for photo, (h, w) in photos)
        return torch.cat([resize(square[None], self.resolution) for square in squares])


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One person as the protector sees them: all images float32 NCHW RGB in [0, 1].

    images: set_B, to be protected, (n, 3, h, w), exact 8-bit levels.  names: their file names.
    clean:  set_A, clean images that are not published, (m, 3, r, r).
    prior:  class-prior images of the surrogate, or None if the attack's config asks for none.
    personalized: a model fine-tuned on set_A, or None likewise.
    view:   how the models see `images`; None if they are at the models' resolution already.
    record and checkpoint: what becomes of an attack's course, and where it is kept.
    """

    images: Tensor
    clean: Tensor
    prior: Tensor | None
    names: tuple[str, ...]
    personalized: Path | None = None
    view: View | None = None
    record: Record = field(default_factory=Record)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)

    def class_prior(self) -> Tensor:
        """The class-prior images; UserError if the config has none."""
        if self.prior is None:
            raise UserError("this attack trains a surrogate: give attack.prior=${surrogate_prior}")
        return self.prior

    def personalized_model(self, base: LatentDiffusion) -> LatentDiffusion:
        """The model fine-tuned on set_A; UserError if the config has none."""
        if self.personalized is None:
            raise UserError("this attack needs attack.personalized, a trainer for set_A")
        return base.with_weights(self.personalized)

    def seen(self, x: Tensor) -> Tensor:
        """`x`, a version of `images`, as the models see it."""
        return x if self.view is None else self.view(x, range(len(x)))

    def variables(self, **named: Any) -> Variables:
        """What an attack's loop changes, and the record with it."""
        return Variables(record=self.record, **named)
