"""DreamBooth's published loop, plainly: what `make bench` measures our training beside.

The loop of diffusers' DreamBooth example, which the releases have copied, from what is known of it;
own code, the same trainer object, pictures and draws as ours and float32, so that the weights are
equal but for rounding. Numbers in brackets are the sections of the notes on the releases, which
are not in this repository. It was written before anything was measured with it, and stays as
it is.

Left out, in favor of the published loop: reading, resizing and tokenizing in a loader, gradient
checkpointing, a loss that is printed at every step, a schedule of the rate.
"""

import torch
from torch import Tensor, nn

from diffshortcut.bench.published import adamw
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws
from diffshortcut.trainers.dreambooth import DreamBooth


def dreambooth(trainer: DreamBooth, images: Tensor, prior: Tensor, draws: Draws) -> LatentDiffusion:
    """A copy of the model, trained for all the trainer's steps."""
    training = PlainTraining(trainer, images, prior, draws)
    for _ in range(trainer.steps):
        training.step()
    return training.model


class PlainTraining:
    """A model in training, its unfused AdamW, the pixels it learns from and the step count."""

    def __init__(self, trainer: DreamBooth, images: Tensor, prior: Tensor, draws: Draws) -> None:
        self.trainer = trainer
        self.sets = {"instance": images, "prior": prior}
        self.sizes = {"instance": trainer.instance_batch, "prior": trainer.prior_batch}
        self.draws = draws
        self.model = trainer.model.copy()
        self.weights = self.model.trainable_parameters()
        self.optimizer = adamw(self.weights, trainer.learning_rate)
        self.done = 0

    def step(self) -> None:
        """Encode the step's pictures of person and class, and embed a prompt for each [3.2, 4.1].

        One pass of the denoiser serves both, and the norm of the whole gradient is clipped to 1.
        """
        trainer, model, draws = self.trainer, self.model, self.draws
        pixels = torch.cat([self._next(what) for what in self.sets])
        with torch.no_grad():
            mean, std = model.posterior(pixels)
        drawn = [self._posterior_noise(what, mean) for what in self.sets]
        z = model.reparameterize(mean, std, torch.cat(drawn))
        t = draws.integers("timestep", model.num_timesteps, len(z), self.done)
        noise = draws.normal("noise", z.shape[1:], len(z), self.done)
        prompts = [trainer.instance_prompt] * trainer.instance_batch
        prompts += [trainer.class_prompt] * trainer.prior_batch
        error = model.denoising_loss(z, model.encode_prompt(prompts), t, noise)
        person, classes = error.split([trainer.instance_batch, trainer.prior_batch])
        loss = person.mean() + trainer.prior_weight * classes.mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.done += 1

    def _posterior_noise(self, what: str, mean: Tensor) -> Tensor:
        purpose = f"{what} posterior"
        return self.draws.normal(purpose, mean.shape[1:], self.sizes[what], self.done)

    def _next(self, what: str) -> Tensor:
        """The pictures of a step: every pass over them has a random order, as ours."""
        images, size = self.sets[what], self.sizes[what]
        places = [divmod(self.done * size + i, len(images)) for i in range(size)]
        indices = [
            int(self.draws.permutation(f"{what} order", len(images), step=turn)[place])
            for turn, place in places
        ]
        return images[indices]
