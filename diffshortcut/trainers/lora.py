"""Personalization by DreamBooth on a LoRA (Hu et al. 2021), as diffusers' example trains one."""

from dataclasses import dataclass

from torch import nn

from diffshortcut.models import adapters
from diffshortcut.models.adapters import ATTENTION, TEXT_ATTENTION, Net, add_lora
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.models.partly_trained import PartlyTrained
from diffshortcut.seeding import Draws
from diffshortcut.trainers.dreambooth import DreamBooth


@dataclass(frozen=True, kw_only=True)
class LoRA(DreamBooth):
    """A LoRA of the denoiser's attention projections and, with `text_encoder`, of that one's.

    Its first factors start normal with deviation 1 / rank (peft's `gaussian`); alpha is the rank.
    """

    rank: int
    text_encoder: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise ValueError("rank must be at least 1")

    def start(self, draws: Draws) -> LatentDiffusion:
        """A copy with a LoRA that changes nothing yet."""
        model = self.model.frozen_copy()
        weights = self._add(model.unet, ATTENTION, draws.scope("unet"))
        if self.text_encoder:
            weights += self._add(model.text_encoder, TEXT_ATTENTION, draws.scope("text_encoder"))
        nets = {"unet": model.unet, "text_encoder": model.text_encoder}
        return PartlyTrained.of(model, weights, lambda folder: adapters.save_lora(folder, **nets))

    def _add(self, net: Net, targets: list[str], draws: Draws) -> list[nn.Parameter]:
        return add_lora(net, targets, rank=self.rank, draws=draws, deviation=1 / self.rank)
