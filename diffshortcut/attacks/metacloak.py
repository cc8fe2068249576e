"""MetaCloak: a meta-learned pool of surrogates, transformed images (Liu et al. 2024)."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.attacks.ball import check_budget
from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.pgd import ascend, gradient_of
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.surrogate import fine_tune, restore, weights_of
from diffshortcut.attacks.transforms import Transform
from diffshortcut.dreambooth import Posterior, Settings, Training
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.progress import track
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class MetaCloak:
    """The perturbation must fool a person's model at every stage of its training.

    First a surrogate learns set_B, and snapshots of it at evenly spaced steps, the first and the
    last included, form the pool. Then, `trails` times over the pool: from a snapshot, `rounds`
    times, the perturbation ascends the denoising loss of transformed images and the surrogate
    learns the perturbed images. `radius` is in 8-bit levels, a step is `step_ratio` * radius.
    `normalize_surrogate=False` is the released code's bug: its surrogates are trained on images
    whose values reach 255 where the autoencoder takes 1.
    """

    surrogate: LatentDiffusion
    instance_prompt: str
    class_prompt: str
    radius: float
    step_ratio: float
    surrogate_steps: int
    snapshots: int
    trails: int
    rounds: int
    pgd_steps: int
    advance_steps: int
    learning_rate: float
    normalize_surrogate: bool
    transforms: list[Transform]
    micro_batch: int | None = None

    def __post_init__(self) -> None:
        check_budget(radius=self.radius, step=self.step_ratio)
        if min(self.snapshots, self.trails, self.rounds, self.pgd_steps) < 1:
            raise ValueError("snapshots, trails, rounds and pgd_steps must be at least 1")
        if min(self.surrogate_steps, self.advance_steps) < 0:
            raise ValueError("surrogate_steps and advance_steps must be at least 0")
        if self.learning_rate <= 0:
            raise ValueError("learning_rate must be above 0")

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        surrogate = self._training(scene, draws)
        pool = self._pool(surrogate, scene.images)
        x, number = scene.images, 0
        for snapshot in track(pool * self.trails, "metacloak: snapshots"):
            restore(surrogate, snapshot)
            for _ in range(self.rounds):
                x = self._perturb(surrogate.model, x, scene.images, draws, number)
                fine_tune(surrogate, self._posterior(x), self.advance_steps)
                number += 1
        return x

    def _training(self, scene: Scene, draws: Draws) -> Training:
        settings = Settings(
            instance_prompt=self.instance_prompt,
            class_prompt=self.class_prompt,
            learning_rate=self.learning_rate,
        )
        prior = Posterior.of(self.surrogate, scene.class_prior())
        return Training(self.surrogate, settings, prior, draws.scope("surrogate"))

    def _pool(self, surrogate: Training, images: Tensor) -> list[list[Tensor]]:
        posterior, last = self._posterior(images), max(self.snapshots - 1, 1)
        pool = []
        for i in track(range(self.snapshots), "metacloak: surrogate"):
            surrogate.train(posterior, i * self.surrogate_steps // last - surrogate.step)
            pool.append(weights_of(surrogate))
        return pool

    def _perturb(
        self, model: LatentDiffusion, x: Tensor, clean: Tensor, draws: Draws, number: int
    ) -> Tensor:
        loss = denoising_loss(model, self.instance_prompt, draws, self.transforms)
        return ascend(
            x,
            clean,
            gradient_of(loss),
            radius=self.radius,
            step=self.step_ratio * self.radius,
            steps=self.pgd_steps,
            first_step=number * self.pgd_steps,
            micro_batch=self.micro_batch,
        )

    def _posterior(self, images: Tensor) -> Posterior:
        return Posterior.of(self.surrogate, images if self.normalize_surrogate else _raw(images))


def _raw(images: Tensor) -> Tensor:
    """What the autoencoder, which takes 2x - 1, must be given to see the 8-bit levels."""
    return (255 * images + 1) / 2
