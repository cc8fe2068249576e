"""ASPL, alternating surrogate and perturbation learning (Anti-DreamBooth, Van Le et al. 2023)."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.attacks.ball import check_budget
from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.pgd import ascend, gradient_of
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.surrogate import fine_tune, restore
from diffshortcut.dreambooth import Posterior, Settings, Training
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.progress import track
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class ASPL:
    """Per round: a clone of the surrogate learns the clean set_A, the perturbation ascends the
    clone's denoising loss, then the surrogate learns the perturbed set_B.

    `radius` and `step` are in 8-bit levels.
    """

    surrogate: LatentDiffusion
    instance_prompt: str
    class_prompt: str
    radius: float
    step: float
    rounds: int
    clean_steps: int
    pgd_steps: int
    adversarial_steps: int
    learning_rate: float
    micro_batch: int | None = None

    def __post_init__(self) -> None:
        check_budget(radius=self.radius, step=self.step)
        if min(self.rounds, self.pgd_steps) < 1:
            raise ValueError("rounds and pgd_steps must be at least 1")
        if min(self.clean_steps, self.adversarial_steps) < 0:
            raise ValueError("clean_steps and adversarial_steps must be at least 0")
        if self.learning_rate <= 0:
            raise ValueError("learning_rate must be above 0")

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        prior = Posterior.of(self.surrogate, scene.class_prior())
        clean = Posterior.of(self.surrogate, scene.clean)
        surrogate = Training(self.surrogate, self._settings(), prior, draws.scope("surrogate"))
        clone = Training(self.surrogate, self._settings(), prior, draws.scope("clone"))
        x = scene.images
        for number in track(range(self.rounds), "aspl"):
            restore(clone, surrogate.model.trainable_parameters())
            fine_tune(clone, clean, self.clean_steps)
            loss = denoising_loss(clone.model, self.instance_prompt, draws)
            x = ascend(
                x,
                scene.images,
                gradient_of(loss),
                radius=self.radius,
                step=self.step,
                steps=self.pgd_steps,
                first_step=number * self.pgd_steps,
                micro_batch=self.micro_batch,
            )
            fine_tune(surrogate, Posterior.of(self.surrogate, x), self.adversarial_steps)
        return x

    def _settings(self) -> Settings:
        return Settings(
            instance_prompt=self.instance_prompt,
            class_prompt=self.class_prompt,
            learning_rate=self.learning_rate,
        )
