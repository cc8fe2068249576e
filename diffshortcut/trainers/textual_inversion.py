"""Personalization by textual inversion (Gal et al. 2023): the embedding of one word."""

from dataclasses import dataclass

from diffshortcut.models.adapters import learn_word, save_embedding
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.models.partly_trained import PartlyTrained
from diffshortcut.seeding import Draws
from diffshortcut.trainers.dreambooth import DreamBooth


@dataclass(frozen=True, kw_only=True)
class TextualInversion(DreamBooth):
    """The embedding of `word`, which starts as that of `initial_word`; all else is frozen.

    `word` is a rare one that the tokenizer has as one token: its row is learned anew, and the
    tokenizer stays as it is. The method has no prior preservation.
    """

    word: str
    initial_word: str
    prior_batch: int = 0

    def start(self, draws: Draws) -> LatentDiffusion:
        """A copy to which `word` means what `initial_word` does."""
        model = self.model.frozen_copy()
        row = learn_word(model.text_encoder, model.tokenizer, self.word, self.initial_word)
        return PartlyTrained.of(model, [row], lambda folder: save_embedding(folder, self.word, row))
