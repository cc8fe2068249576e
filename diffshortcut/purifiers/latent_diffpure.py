"""LatentDiffPure: DiffPure in the latent space of a latent diffusion model, with a prompt."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.pictures.images import cropped, grown
from diffshortcut.progress import track
from diffshortcut.samplers.classifier_free import guided
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class LatentDiffPure:
    """Noise the latent to timestep t, then ancestral steps down, away from no prompt by w.

    `steps` are spread over t ... 0; of t + 1 none is left out. An empty prompt needs no guidance.
    """

    model: LatentDiffusion
    prompt: str
    t: int
    guidance: float  # w of Eq. 6
    steps: int

    def __post_init__(self) -> None:
        if min(self.t, self.guidance) < 0 or self.steps < 1:
            raise ValueError("t and guidance must be at least 0, steps at least 1")
        if self.t >= self.model.num_timesteps:
            raise ValueError(f"t must be below {self.model.num_timesteps}, not {self.t}")

    @torch.no_grad()
    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1] at the same size."""
        model, count = self.model, len(images)
        context, empty = model.encode_prompt([self.prompt]), model.encode_prompt([""])
        mean, std = model.posterior(grown(images, multiple=model.factor))
        z = model.reparameterize(mean, std, draws.normal("posterior", mean.shape[1:], count))
        z = model.add_noise(z, draws.normal("diffuse", z.shape[1:], count), self.times[:1])
        for t, before in track(list(pairwise(self.times)), "latent diffpure"):
            time = t.expand(count)
            prediction = guided(model, z, time, context, empty, self.guidance)
            fresh = draws.normal("denoise", z.shape[1:], count, int(t))
            z = model.previous(z, prediction, time, before.expand(count), fresh)
        return cropped(model.decode(z), images).to(images)

    @property
    def times(self) -> Tensor:
        """Timesteps from t down to 0, then -1, which is the clean latent."""
        count = min(self.steps, self.t + 1)
        down = torch.linspace(self.t, 0 if count > 1 else self.t, count).round().long()
        return torch.cat([down, torch.tensor([-1])])
