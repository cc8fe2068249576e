"""Personalization by Custom Diffusion (Kumari et al. 2023): cross-attention and one word."""

from dataclasses import dataclass
from pathlib import Path

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
    is.
    """

    word: str

    def start(self, draws: Draws) -> LatentDiffusion:
        """A copy that trains these only."""
        model = self.model.frozen_copy()
        projections = keys_and_values(model.unet)
        row = learn_word(model.text_encoder, model.tokenizer, self.word, self.word)

        def write(folder: Path) -> None:
            save_keys_and_values(folder, projections)
            save_embedding(folder, self.word, row)

        return PartlyTrained.of(model, [*projections.values(), row], write)
