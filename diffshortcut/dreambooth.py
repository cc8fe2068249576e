"""DreamBooth with prior preservation (Ruiz et al. 2023; Eq. 2), for trainers and surrogates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from diffshortcut.errors import UserError
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws

MAX_GRADIENT_NORM = 1.0
LOG_EVERY = 25  # steps between two values of the loss that are read

Log = Callable[[int, float], None]  # (step, loss)


class Instances(Protocol):
    """The images a concept is learned from, as posteriors of the autoencoder."""

    def __len__(self) -> int: ...

    def at(self, indices: Sequence[int], step: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the chosen images at a training step."""
        ...


@dataclass(frozen=True)
class Posterior:
    """Cached posteriors of n images: mean and std, each (n, c, h, w); sampled afresh each step."""

    mean: Tensor
    std: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: LatentDiffusion, images: Tensor, micro_batch: int = 8) -> "Posterior":
        """Encode images (n, 3, h, w) once."""
        parts = [model.posterior(part) for part in images.split(micro_batch)]
        mean, std = (torch.cat(part) for part in zip(*parts, strict=True))
        return cls(mean, std)

    def __len__(self) -> int:
        return len(self.mean)

    def at(self, indices: Sequence[int], step: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the chosen images."""
        return self.mean[indices], self.std[indices]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train: prompts, learning rate, weight of the prior loss, images per step."""

    instance_prompt: str
    class_prompt: str
    learning_rate: float
    prior_weight: float = 1.0
    instance_batch: int = 1
    prior_batch: int = 1


class Training:
    """One model in training: its own copy of the weights, AdamW's state and the step count.

    `train` may be called again and again: it goes on where it stopped, with other images too.
    Images come in a new random order each pass, so every instance and prior image is seen.
    """

    def __init__(
        self, model: LatentDiffusion, settings: Settings, prior: Posterior, draws: Draws
    ) -> None:
        self.model = model.copy()
        self.settings = settings
        self.prior = prior
        self.draws = draws
        self.step = 0
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Forget the moments of AdamW (beta 0.9 and 0.999, weight decay 0.01, epsilon 1e-8)."""
        self.optimizer = torch.optim.AdamW(
            self.model.trainable_parameters(),
            lr=self.settings.learning_rate,
            betas=(0.9, 0.999),
            weight_decay=1e-2,
            eps=1e-8,
            fused=True,
        )

    def train(self, instances: Instances, steps: int, log: Log | None = None) -> None:
        """Minimize L_db on `instances` for some steps; UserError if the loss is not finite."""
        for _ in range(steps):
            loss = self._step(instances)
            if log is not None and self.step % LOG_EVERY == 0:
                log(self.step, float(loss))
            self.step += 1
        if steps and not torch.isfinite(loss):
            raise UserError(
                f"DreamBooth step {self.step - 1}: the loss is {float(loss)}; "
                "a smaller learning rate may help"
            )

    def _step(self, instances: Instances) -> Tensor:
        settings = self.settings
        z = torch.cat(
            [
                self._sample("instance", instances, settings.instance_batch),
                self._sample("prior", self.prior, settings.prior_batch),
            ]
        )
        t = self.draws.integers("timestep", self.model.num_timesteps, len(z), self.step)
        noise = self.draws.normal("noise", z.shape[1:], len(z), self.step)
        loss = dreambooth_loss(self.model, settings, z, t, noise)
        descend(self.optimizer, loss)
        return loss.detach()

    def _sample(self, what: str, images: Instances, batch: int) -> Tensor:
        indices = self._order(what, len(images), batch)
        mean, std = images.at(indices, self.step)
        noise = self.draws.normal(f"{what} posterior", mean.shape[1:], batch, self.step)
        return self.model.reparameterize(mean, std, noise)

    def _order(self, what: str, count: int, batch: int) -> list[int]:
        positions = range(self.step * batch, (self.step + 1) * batch)
        passes = {p // count for p in positions}
        orders = {i: self.draws.permutation(f"{what} order", count, step=i) for i in passes}
        return [int(orders[p // count][p % count]) for p in positions]


def dreambooth_loss(
    model: LatentDiffusion, settings: Settings, z: Tensor, t: Tensor, noise: Tensor
) -> Tensor:
    """L_db = mean instance loss + prior_weight * mean prior loss (Eq. 2), a scalar.

    `z` holds instance_batch latents of the person, then prior_batch latents of the class; one pass
    of the denoiser serves both. The gradient reaches denoiser and text encoder.
    """
    counts = [settings.instance_batch, settings.prior_batch]
    contexts = model.encode_prompt([settings.instance_prompt, settings.class_prompt])
    context = contexts.repeat_interleave(torch.tensor(counts, device=contexts.device), dim=0)
    instance, prior = model.denoising_loss(z, context, t, noise).split(counts)
    return instance.mean() + settings.prior_weight * prior.mean()


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of the optimizer, the norm of the whole gradient clipped to 1."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
    optimizer.step()
