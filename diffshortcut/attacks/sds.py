"""SDS attacks: no backward pass of the denoiser (Diff-Protect, Xue et al. 2024)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffshortcut.attacks.denoising import denoising_loss, embedded, posterior_sample, uniform
from diffshortcut.attacks.perturbation import FixedObjective
from diffshortcut.attacks.pgd import Gradient, Loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.precision import gradients
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class SDS(FixedObjective):
    """The latent gradient of score distillation, prediction - target, pulled back to the image.

    direction: `minus` descends the denoising loss (their default: it blurs), `plus` ascends it.
    """

    surrogate: LatentDiffusion
    prompt: str
    direction: Literal["minus", "plus"] = "minus"

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """Eq. 1, or minus it."""
        loss, sign = denoising_loss(self.surrogate, self.prompt, draws), self._sign
        return lambda x, images, step: sign * loss(x, images, step)

    def gradient(self, scene: Scene, draws: Draws) -> Gradient:
        """Only the autoencoder is differentiated."""
        model, context = self.surrogate, embedded(self.surrogate, self.prompt)
        timesteps = uniform(model, draws)

        def pulled_back(x: Tensor, images: range, step: int) -> tuple[Tensor, Tensor]:
            x = x.detach().requires_grad_()
            with torch.enable_grad():
                z = posterior_sample(model, x, draws, images, step)
            t, noise = timesteps(images, step), draws.normal("noise", z.shape[1:], images, step)
            with torch.no_grad():
                prediction = model.predict(model.add_noise(z, noise, t), t, context)
                error = prediction - model.target(z, noise, t)
            with torch.enable_grad():
                (direction,) = gradients((z * error).sum(), [x])
            return self._sign * error.square().mean((1, 2, 3)), self._sign * direction

        return pulled_back

    @property
    def _sign(self) -> int:
        return 1 if self.direction == "plus" else -1
