"""PhotoGuard (Salman et al. 2023): the encoder attack and the diffusion attack."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from diffshortcut.attacks.denoising import embedded, posterior_sample
from diffshortcut.attacks.perturbation import FixedObjective
from diffshortcut.attacks.pgd import Loss, Move, along_sign
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.target import Target
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.samplers.img2img import descending, step_down
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class EncoderAttack(FixedObjective):
    """Bring the posterior mean of the image to that of a target picture.

    The step decays linearly to a hundredth of itself over the run.
    """

    surrogate: LatentDiffusion
    target_picture: Target | None  # None: the latent 0

    @torch.no_grad()
    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """- || mu(x) - mu(target) ||_2."""
        model, target = self.surrogate, torch.zeros(())
        if self.target_picture is not None:
            target, _ = model.posterior(self.target_picture(scene.clean.shape[-1]))
        return lambda x, images, step: -(model.posterior(x)[0] - target).flatten(1).norm(dim=1)

    def move(self, number: int) -> Move:
        """The decayed step."""
        return along_sign(self.levels * (1 - 0.99 * number / self.steps))


@dataclass(frozen=True, kw_only=True)
class DiffusionAttack(FixedObjective):
    """Bring what the model makes of the image (img2img) to a target picture.

    The original edits with an inpainting model; here it is img2img on the surrogate itself, from
    `strength` of the noise schedule, in `denoising_steps` unrolled deterministic steps with
    guidance w of Eq. 6, averaged over `samples` noises. Steps are recomputed in the backward pass.
    """

    surrogate: LatentDiffusion
    target_picture: Target
    prompt: str
    denoising_steps: int
    guidance: float
    strength: float
    samples: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.denoising_steps, self.samples) < 1 or not 0 < self.strength <= 1:
            raise ValueError("denoising_steps and samples must be at least 1, strength in (0, 1]")

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """- || img2img(x) - target ||_2, the mean over the samples."""
        target = self.target_picture(scene.clean.shape[-1])
        contexts = embedded(self.surrogate, self.prompt), embedded(self.surrogate, "")

        def loss(x: Tensor, images: range, step: int) -> Tensor:
            z = posterior_sample(self.surrogate, x, draws, images, step)
            numbers = range(step * self.samples, (step + 1) * self.samples)
            noises = [draws.normal("noise", z.shape[1:], images, n) for n in numbers]
            made = [self._image_to_image(z, noise, contexts) for noise in noises]
            far = [(image - target.to(image)).flatten(1).norm(dim=1) for image in made]
            return -torch.stack(far).mean(0)

        return loss

    def _image_to_image(self, z: Tensor, noise: Tensor, contexts: tuple[Tensor, Tensor]) -> Tensor:
        model = self.surrogate
        times = descending(model, self.strength, self.denoising_steps)
        z = model.add_noise(z, noise, times[:1])
        for t, before in pairwise(times):
            step = (model, z, t, before, contexts, self.guidance)
            z = checkpoint(step_down, *step, use_reentrant=False)
        decode = partial(model.decode, clip=False)  # a saturated pixel has a slope
        return checkpoint(decode, z, use_reentrant=False)
