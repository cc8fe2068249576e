"""CAAT: cross-attention attack, images and attention projections at once (Xu et al. 2024)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.attacks.adapted import Adapted, cross_attention
from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.perturbation import FixedObjective
from diffshortcut.attacks.pgd import Gradient, Loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class CAAT(FixedObjective):
    """From one backward pass the images ascend the denoising loss, and the key and value
    projections of the cross-attention descend it.
    """

    surrogate: LatentDiffusion
    prompt: str
    learning_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate <= 0:
            raise ValueError("learning_rate must be above 0")

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        attention = cross_attention(self.surrogate, self.learning_rate)
        gradient = _both(denoising_loss(attention.model, self.prompt, draws), attention)
        start = self.start(scene, draws, random=self.random_start)
        state = scene.variables(x=start, attention=attention)
        for number in scene.checkpoint.track(range(self.steps), "caat", state):
            state.x = self.ascend(state.x, scene, gradient, draws, steps=1, first_step=number)
            attention.descend(scale=1 / len(state.x))
        return state.x

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """Eq. 1 of the model before any training."""
        return denoising_loss(self.surrogate, self.prompt, draws)


def _both(loss: Loss, attention: Adapted) -> Gradient:
    """The gradient for the images; that for the projections is kept until they descend."""

    def gradient(x: Tensor, images: range, step: int) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            values = loss(x, images, step)
            direction, *slopes = torch.autograd.grad(values.sum(), [x, *attention.weights])
        attention.add_slopes(slopes)
        return values.detach(), direction

    return gradient
