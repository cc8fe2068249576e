"""Image to image: noise a picture part of the way, then denoise it under a prompt."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.samplers.classifier_free import guided
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class ImageToImage:
    """`strength` of the noise schedule up, then deterministic steps down; guidance w of Eq. 6."""

    model: LatentDiffusion
    prompt: str
    strength: float
    steps: int
    guidance: float

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.strength <= 1 or self.guidance < 0:
            raise ValueError("steps must be at least 1, strength in (0, 1], guidance at least 0")

    @torch.no_grad()
    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1], restyled."""
        model = self.model
        context, empty = model.encode_prompt([self.prompt]), model.encode_prompt([""])
        z = model.encode(images)
        z = model.add_noise(z, draws.normal("img2img", z.shape[1:], len(z)), self.times[:1])
        for t, before in pairwise(self.times):
            z = step_down(model, z, t, before, (context, empty), self.guidance)
        return model.decode(z)

    @property
    def times(self) -> Tensor:
        """The timesteps from the noisiest down to -1, which is the clean latent."""
        return descending(self.model, self.strength, self.steps)


def step_down(
    model: LatentDiffusion,
    z: Tensor,
    t: Tensor,
    before: Tensor,
    contexts: tuple[Tensor, Tensor],
    guidance: float,
) -> Tensor:
    """From timestep t to `before`, away from the second context by w; carries the gradient."""
    time = t.expand(len(z))
    prediction = guided(model, z, time, *contexts, guidance)
    return model.previous(z, prediction, time, before.expand(len(z)))


def descending(model: LatentDiffusion, strength: float, steps: int) -> Tensor:
    """steps + 1 evenly spaced timesteps from `strength` of the schedule to -1, the clean latent."""
    first = round(strength * model.num_timesteps) - 1
    return torch.linspace(first, -1, steps + 1).round().long()
