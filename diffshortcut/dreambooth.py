"""DreamBooth with prior preservation (Ruiz et al. 2023; Eq. 2), for trainers and surrogates."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from diffshortcut.artifacts.checkpoint import load_trained, trained_tensors
from diffshortcut.errors import UserError
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.parallel import ALONE, Team
from diffshortcut.pictures.images import batches
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
    """How to train: prompts, learning rate, weight of the prior loss, images per step.

    The rate is constant, or falls linearly to 0 over `decay_steps`.
    `prior_batch` 0 is a loss without class images; `micro_batch` of a step's images are held in
    memory at once (None: all). `weights_dtype` bfloat16 without float32
    masters, and no `clip`, are what released attacks do.
    """

    instance_prompt: str
    class_prompt: str
    learning_rate: float
    decay_steps: float | None = None
    prior_weight: float = 1.0
    instance_batch: int = 1
    prior_batch: int = 1
    micro_batch: int | None = None
    weights_dtype: Literal["float32", "bfloat16"] = "float32"
    clip: bool = True

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        decayed = 0 if self.decay_steps is None else step / self.decay_steps
        return self.learning_rate * max(1 - decayed, 0)


class Training:
    """One model in training: its own copy of the weights, AdamW's state and the step count.

    Without `copy` the model itself is trained, all that it names its trainable parameters.

    `train` may be called again and again: it goes on where it stopped, with other images too.
    Images come in a new random order each pass, so every instance and prior image is seen. The
    processes of a `team` make the same draws and share each step's images among them.
    """

    def __init__(
        self,
        model: LatentDiffusion,
        settings: Settings,
        prior: Posterior | None,
        draws: Draws,
        *,
        copy: bool = True,
        team: Team = ALONE,
    ) -> None:
        self.model = model.copy(getattr(torch, settings.weights_dtype)) if copy else model
        self.settings = settings
        self.prior = prior
        self.draws = draws
        self.team = team
        self.step = 0
        self.first: dict[str, int] = {}  # kind -> the step from which its images come in order
        self.scaler = model.precision.new_scaler(model.device)
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Forget the moments of AdamW (beta 0.9 and 0.999, weight decay 0.01, epsilon 1e-8)."""
        parameters = self.model.trainable_parameters()
        for parameter in parameters:
            parameter.grad = None
        rate = self.settings.learning_rate
        self.optimizer = self.model.precision.new_optimizer(parameters, rate)

    def restart_order(self, *kinds: str) -> None:
        """From here on `instance` or `prior` images come as they are listed, from the first."""
        self.first |= dict.fromkeys(kinds, self.step)

    def train(self, instances: Instances, steps: int, log: Log | None = None) -> None:
        """Minimize L_db on `instances` for some steps; UserError if the loss is not finite."""
        for _ in range(steps):
            loss = self._step(instances)
            if log is not None and self.step % LOG_EVERY == 0:
                log(self.step, float(loss))
            self.step += 1
        self.optimizer.zero_grad(set_to_none=True)  # what follows a training needs the memory
        if steps and not torch.isfinite(loss):
            raise UserError(
                f"DreamBooth steps {self.step - steps} to {self.step - 1}: the loss is"
                f" {float(loss)}; a smaller learning rate may help"
            )

    def _step(self, instances: Instances) -> Tensor:
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate(self.step)
        z = self._sample("instance", instances, settings.instance_batch)
        if self.prior is not None and settings.prior_batch:
            z = torch.cat([z, self._sample("prior", self.prior, settings.prior_batch)])
        t = self.draws.integers("timestep", self.model.num_timesteps, len(z), self.step)
        noise = self.draws.normal("noise", z.shape[1:], len(z), self.step)
        own = self.team.share(len(z))
        losses = (
            dreambooth_loss(self.model, settings, z, t, noise, own[part.start : part.stop])
            for part in batches(len(own), settings.micro_batch)
        )
        share, scaler = self.team.add_up, self.scaler
        return descend(self.optimizer, losses, clip=settings.clip, scaler=scaler, share=share)

    def _sample(self, what: str, images: Instances, batch: int) -> Tensor:
        indices = self._order(what, len(images), batch)
        mean, std = images.at(indices, self.step)
        noise = self.draws.normal(f"{what} posterior", mean.shape[1:], batch, self.step)
        return self.model.reparameterize(mean, std, noise)

    def _order(self, what: str, count: int, batch: int) -> list[int]:
        if what in self.first:
            start = (self.step - self.first[what]) * batch
            return [position % count for position in range(start, start + batch)]
        positions = range(self.step * batch, (self.step + 1) * batch)
        passes = {p // count for p in positions}
        orders = {i: self.draws.permutation(f"{what} order", count, step=i) for i in passes}
        return [int(orders[p // count][p % count]) for p in positions]

    def state_dict(self) -> dict[str, Tensor]:
        """Weights, moments of AdamW and the step count, for a checkpoint."""
        weights = self.model.trainable_parameters()
        scaling = {f"scaler.{k}": torch.tensor(v) for k, v in self.scaler.state_dict().items()}
        moments = trained_tensors(weights, self.optimizer)
        return {"step": torch.tensor(self.step), **scaling, **moments}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        self.step = int(state["step"])
        self.reset_optimizer()
        scaling = self.scaler.state_dict()
        self.scaler.load_state_dict({k: state[f"scaler.{k}"].item() for k in scaling})
        load_trained(self.model.trainable_parameters(), self.optimizer, state)


def dreambooth_loss(
    model: LatentDiffusion,
    settings: Settings,
    z: Tensor,
    t: Tensor,
    noise: Tensor,
    rows: Sequence[int] | None = None,
) -> Tensor:
    """L_db = mean instance loss + prior_weight * mean prior loss (Eq. 2), a scalar.

    `z` holds instance_batch latents of the person, then prior_batch latents of the class; one pass
    of the denoiser serves both. The gradient reaches denoiser and text encoder. Without latents of
    the class it is the instance loss alone. With `rows` only those latents' part of the sum.
    """
    kinds = [0] * settings.instance_batch + [1] * settings.prior_batch
    shares = [1 / settings.instance_batch, settings.prior_weight / max(settings.prior_batch, 1)]
    rows = list(range(len(z)) if rows is None else rows)
    contexts = model.encode_prompt([settings.instance_prompt, settings.class_prompt])
    losses = model.denoising_loss(z[rows], contexts[[kinds[i] for i in rows]], t[rows], noise[rows])
    return (losses * losses.new_tensor([shares[kinds[i]] for i in rows])).sum()


def descend(
    optimizer: torch.optim.Optimizer,
    losses: Iterable[Tensor],
    *,
    clip: bool = True,
    scaler: torch.amp.GradScaler | None = None,
    share: Callable[[Tensor, Iterable[Tensor]], None] = lambda loss, parameters: None,
) -> Tensor:
    """One step of the optimizer along the sum of the losses, which it returns.

    They are computed and passed back one after the other. The norm of the whole gradient is
    clipped to 1 unless told not to. A `scaler` enlarges the losses for the backward pass and skips
    a step whose gradient overflowed; `share` may change sum and gradients before they are clipped.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    device = parameters[0].device
    scaler = scaler or torch.amp.GradScaler(device.type, enabled=False)
    optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=device)
    for loss in losses:
        scaler.scale(loss).backward()
        total += loss.detach()
    share(total, parameters)
    if clip:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
    scaler.step(optimizer)
    scaler.update()
    return total
