"""Mist-v2: the predicted noise becomes a picture's latent, against a LoRA (Zheng et al. 2023)."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.attacks.adapted import Adapted, lora
from diffshortcut.attacks.denoising import denoising_loss, embedded, latent_of, uniform
from diffshortcut.attacks.perturbation import Perturbation
from diffshortcut.attacks.pgd import Loss, gradient_of
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.target import Target
from diffshortcut.errors import UserError
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.precision import gradients
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class MistV2(Perturbation):
    """Per round: the perturbation brings the denoiser's output to the latent of a target picture,
    then a LoRA of the surrogate learns the perturbed images.

    The image's latent is its posterior mean. The text encoder is not trained.
    """

    surrogate: LatentDiffusion
    prompt: str
    target_picture: Target
    rounds: int
    pgd_steps: int
    lora_steps: int
    lora_rank: int
    learning_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.rounds, self.pgd_steps, self.lora_rank) < 1 or self.lora_steps < 0:
            raise ValueError("rounds, pgd_steps and lora_rank must be at least 1, lora_steps >= 0")
        if self.learning_rate <= 0:
            raise ValueError("learning_rate must be above 0")

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        adapted = lora(
            self.surrogate,
            rank=self.lora_rank,
            learning_rate=self.learning_rate,
            draws=draws.scope("lora"),
        )
        gradient = gradient_of(self._toward_target(adapted.model, scene, draws))
        learned = denoising_loss(adapted.model, self.prompt, draws.scope("lora"))
        state = scene.variables(x=scene.images, adapted=adapted)
        for number in scene.checkpoint.track(range(self.rounds), "mist_v2", state):
            first = number * self.pgd_steps
            state.x = self.ascend(
                state.x, scene, gradient, draws, steps=self.pgd_steps, first_step=first
            )
            self._learn(adapted, scene.seen(state.x), learned, number)
        return state.x

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """- mse(prediction, z_target) of the model before any training."""
        return self._toward_target(self.surrogate, scene, draws)

    def _toward_target(self, model: LatentDiffusion, scene: Scene, draws: Draws) -> Loss:
        context, timesteps = embedded(model, self.prompt), uniform(model, draws)
        target = latent_of(self.target_picture, model, scene.clean.shape[-1])

        def loss(x: Tensor, images: range, step: int) -> Tensor:
            z = model.encode(x)
            noise, t = draws.normal("noise", z.shape[1:], images, step), timesteps(images, step)
            prediction = model.predict(model.add_noise(z, noise, t), t, context)
            return -(prediction - target).square().mean((1, 2, 3))

        return loss

    def _learn(self, adapted: Adapted, images: Tensor, loss: Loss, round_number: int) -> None:
        """The steps of a round; UserError naming them if the loss is not finite."""
        steps = range(round_number * self.lora_steps, (round_number + 1) * self.lora_steps)
        for number in steps:
            i = number % len(images)  # one image after another
            value = loss(images[i : i + 1], range(i, i + 1), number).mean()
            adapted.add_slopes(gradients(value, adapted.weights))
            adapted.descend()
        if steps and not value.isfinite():
            raise UserError(
                f"Mist-v2's LoRA, steps {steps[0]} to {steps[-1]}: the loss is {value.item()};"
                " precision=float32 may help, or a smaller attack.learning_rate"
            )
