"""Glaze (Shan et al. 2023), as re-implemented by IMPRESS: towards another style's latent."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffshortcut.attacks.ball import random_start
from diffshortcut.attacks.denoising import posterior_sample
from diffshortcut.attacks.perturbation import FixedObjective
from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.models.perceptual import Perceptual
from diffshortcut.pictures.images import LEVELS, batches
from diffshortcut.samplers.img2img import ImageToImage
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class Glaze(FixedObjective):
    """Adam on the perturbation: close to the latent of the restyled image, and not seen.

    `style` makes the restyled image once. The perceptual distance to the clean image costs `weight`
    times what it exceeds `visible` by; `weight` is relative to unscaled latents, as it is released.
    The start is uniform within `visible` of images in [-1, 1]. The original projects on no ball;
    ours also stays within `radius`, as the paper asks of every attack (at 255 nothing is
    projected).
    """

    surrogate: LatentDiffusion
    perceptual: Perceptual
    style: ImageToImage
    learning_rate: float
    visible: float
    weight: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate <= 0:
            raise ValueError("learning_rate must be above 0")

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        gradient = self.gradient(scene, draws)
        near = min(self.radius, self.visible * LEVELS / 2)
        state = scene.variables(x=random_start(scene.images, near, draws))
        adam = state.adam = Adam(scene.images, self.learning_rate)
        for number in scene.checkpoint.track(range(self.steps), "glaze", state):
            state.x = self.ascend(
                state.x, scene, gradient, draws, steps=1, first_step=number, step=adam
            )
        return state.x

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """- mse(z, z_restyled) - weight relu(perceptual distance - visible), of unscaled z."""
        model, pictures = self.surrogate, scene.seen(scene.images)
        scaling = model.vae.config.scaling_factor
        own, parts = draws.scope("style"), batches(len(pictures), self.micro_batch)
        style = torch.cat([self.style(pictures[list(i)], own.from_image(i.start)) for i in parts])
        clean, restyled = self.beside(pictures, draws), self.beside(style, draws, model.encode)

        def loss(x: Tensor, images: range, step: int) -> Tensor:
            z = posterior_sample(model, x, draws, images, step)
            far = ((z - restyled(images, step)) / scaling).square().mean((1, 2, 3))
            seen = (self.perceptual.distance(clean(images, step), x) - self.visible).relu()
            return -far.to(seen.device) - self.weight * seen

        return loss


class Adam:
    """A move of Adam (beta 0.9 and 0.999), its learning rate in [0, 1] like the images."""

    def __init__(self, like: Tensor, learning_rate: float) -> None:
        self.rate = learning_rate
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)

    def __call__(self, direction: Tensor, step: int) -> Tensor:
        """What to add to the images, in 8-bit levels."""
        self.mean = torch.lerp(direction, self.mean, 0.9)
        self.square = torch.lerp(direction.square(), self.square, 0.999)
        mean = self.mean / (1 - 0.9 ** (step + 1))
        square = self.square / (1 - 0.999 ** (step + 1))
        return LEVELS * self.rate * mean / (square.sqrt() + 1e-8)

    def state_dict(self) -> dict[str, Tensor]:
        """The moments, for a checkpoint."""
        return {"mean": self.mean, "square": self.square}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.mean, self.square = state["mean"], state["square"]
