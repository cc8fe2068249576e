"""Personalization by DreamBooth, also with the prompts of contrastive decoupling learning (CDL).

CDL (section 4.2, Algorithm 1) adds a noise token to both prompts: "with" it for the person, so
that the token and not the identifier learns the perturbation, "without" it for the class. The loss
is Eq. 2 in both. The other trainers have the same loss and train other weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut import parallel
from diffshortcut.dreambooth import LOG_EVERY, Instances, Log, Posterior, Settings, Training
from diffshortcut.errors import UserError
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.pictures.filters import LEAST
from diffshortcut.pictures.transforms import Blur, Flip
from diffshortcut.progress import track
from diffshortcut.seeding import Draws

ROUNDING = 1e-9  # 5 images at 0.8: one of them is clean
SIGMA = {"sigma_min": 0.1, "sigma_max": 2.0}  # of the augmentation's blur, in pixels at 512


@dataclass(frozen=True, kw_only=True)
class DreamBooth:
    """Full fine-tuning of denoiser and text encoder with prior preservation.

    Each step takes `instance_batch` images of the person and `prior_batch` of the class (0: no
    prior preservation). The learning rate falls in proportion to the steps by the share
    `learning_rate_decay` (0: it is constant; 1: to 0 after the last step).
    `protected_fraction` p < 1 replaces the first int(n (1 - p)) images by clean ones. MetaCloak's
    trainer blurs (`blur_kernel` 7 pixels at 512, 0 = off) and mirrors (`flip_probability` 0.5);
    both are drawn anew each step (in the paper's release once, with rotations). `inference_suffix`
    is what samplers append to their prompts.
    `micro_batch` of a step's images are held in memory at once (None: all), with the same draws.
    """

    model: LatentDiffusion
    instance_prompt: str
    class_prompt: str
    steps: int
    learning_rate: float
    learning_rate_decay: float = 0.0
    instance_batch: int = 1
    prior_batch: int = 1
    prior_weight: float = 1.0
    protected_fraction: float = 1.0
    blur_kernel: int = 0
    flip_probability: float = 0.0
    inference_suffix: str | None = None
    micro_batch: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 0 or self.learning_rate <= 0:
            raise ValueError("steps must be at least 0 and learning_rate above 0")
        if not 0 <= self.protected_fraction <= 1 or not 0 <= self.learning_rate_decay <= 1:
            raise ValueError("protected_fraction and learning_rate_decay must be in [0, 1]")
        if self.instance_batch < 1 or self.prior_batch < 0:
            raise ValueError("instance_batch must be at least 1 and prior_batch at least 0")
        if not 0 <= self.flip_probability <= 1 or self.prior_weight < 0:
            raise ValueError("flip_probability must be in [0, 1] and prior_weight >= 0")
        if self.blur_kernel != 0 and self.blur_kernel < LEAST:
            raise ValueError(f"blur_kernel must be 0 or at least {LEAST}, not {self.blur_kernel}")

    def start(self, draws: Draws) -> LatentDiffusion:
        """A copy of the model that has a gradient for what is trained; `draws` initialize it."""
        return self.model.copy()

    def __call__(
        self,
        images: Tensor,
        prior: Tensor | None,
        draws: Draws,
        clean: Tensor | None = None,
        log: Log | None = None,
    ) -> LatentDiffusion:
        """A trained copy of the model. All images are (n, 3, h, w) in [0, 1].

        UserError if there are no images of the class for `prior_batch`.
        """
        if self.prior_batch and prior is None:
            raise UserError("trainer.prior_batch needs images of the class: trainer.prior=${prior}")
        images = self.mix(images, clean)
        settings = Settings(
            instance_prompt=self.instance_prompt,
            class_prompt=self.class_prompt,
            learning_rate=self.learning_rate,
            decay_steps=self.steps / self.learning_rate_decay if self.learning_rate_decay else None,
            prior_weight=self.prior_weight,
            instance_batch=self.instance_batch,
            prior_batch=self.prior_batch,
            micro_batch=self.micro_batch,
        )
        classes = (
            Posterior.of(self.model, prior) if prior is not None and self.prior_batch else None
        )
        model, team = self.start(draws), parallel.team()
        training = Training(model, settings, classes, draws, copy=False, team=team)
        instances = self._instances(images, draws)
        for start in track(range(0, self.steps, LOG_EVERY), "personalize"):
            training.train(instances, min(LOG_EVERY, self.steps - start), log)
        return training.model

    def mix(self, images: Tensor, clean: Tensor | None) -> Tensor:
        """The images with the first int(n (1 - protected_fraction)) replaced by clean ones."""
        count = int(len(images) * (1 - self.protected_fraction) + ROUNDING)
        if count == 0:
            return images
        if clean is None:
            raise ValueError("protected_fraction below 1 needs the clean images")
        return torch.cat([clean[:count], images[count:]])

    def _instances(self, images: Tensor, draws: Draws) -> Instances:
        if self.blur_kernel == 0 and self.flip_probability == 0:
            return Posterior.of(self.model, images)
        return Augmented(self, images, draws.scope("augmentation"))


@dataclass(frozen=True)
class Augmented:
    """Images transformed anew each step, then encoded."""

    trainer: DreamBooth
    images: Tensor
    draws: Draws

    def __len__(self) -> int:
        return len(self.images)

    @torch.no_grad()
    def at(self, indices: Sequence[int], step: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the chosen images, blurred and mirrored."""
        x, drawn = self.images[indices], range(len(indices))
        if kernel := self.trainer.blur_kernel:
            x = Blur(kernel=kernel, **SIGMA)(x, self.draws, drawn, step)
        flip = Flip(probability=self.trainer.flip_probability)
        return self.trainer.model.posterior(flip(x, self.draws, drawn, step))
