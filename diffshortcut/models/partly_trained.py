"""A model of which a few weights are trained, and nothing else is written of it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from torch import nn

from diffshortcut.models.ldm import LatentDiffusion

Write = Callable[[Path], None]


@dataclass(frozen=True, kw_only=True)
class PartlyTrained(LatentDiffusion):
    """`weights` are trained, `write` puts what they have become into a folder.

    `LatentDiffusion.with_weights` brings it back from there.
    """

    weights: list[nn.Parameter]
    write: Write

    @classmethod
    def of(
        cls, model: LatentDiffusion, weights: list[nn.Parameter], write: Write
    ) -> "PartlyTrained":
        """`model`, a frozen copy, with a gradient for `weights` only."""
        for weight in weights:
            weight.requires_grad_(True)
        parts = {field.name: getattr(model, field.name) for field in fields(LatentDiffusion)}
        return cls(**parts, weights=weights, write=write)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The few."""
        return self.weights

    def save(self, folder: Path) -> None:
        """Write the few as plain diffusers reads them."""
        self.write(folder)
