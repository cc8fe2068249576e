"""Personalization by Custom Diffusion (Kumari et al. 2023): cross-attention and one word."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffshortcut.models.adapters import (
    keys_and_values,
    learn_word,
    save_embedding,
    save_keys_and_values,
)
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.models.partly_trained import PartlyTrained
from diffshortcut.seeding import Draws
from diffshortcut.trainers.dreambooth import DreamBooth


@dataclass(frozen=True, kw_only=True)
class CustomDiffusion(DreamBooth):
    """The key and value projections of the denoiser's cross-attention, and the embedding of `word`.

    `word`, the modifier token, is a rare one that the tokenizer has as one token; it starts as it
    is. As released, the start token's keys and values pass no gradient.
    """

    word: str

    def start(self, draws: Draws) -> LatentDiffusion:
        """A copy that trains these only."""
        model = self.model.frozen_copy()
        projections = keys_and_values(model.unet)
        for name in projections:
            layer = model.unet.get_submodule(name.removesuffix(".weight"))
            layer.register_forward_hook(_without_the_start_token)
        row = learn_word(model.text_encoder, model.tokenizer, self.word, self.word)

        def write(folder: Path) -> None:
            save_keys_and_values(folder, projections)
            save_embedding(folder, self.word, row)

        return PartlyTrained.of(model, [*projections.values(), row], write)


def _without_the_start_token(_: Any, __: Any, projected: Tensor) -> Tensor:
    """The same keys or values (n, tokens, dim), without a gradient for the first token's."""
    return torch.cat([projected[:, :1].detach(), projected[:, 1:]], dim=1)
