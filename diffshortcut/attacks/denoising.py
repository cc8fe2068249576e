"""The losses of the denoiser: L_cond of a surrogate (Eq. 4), without a prior term."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.target import Target
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws

Timesteps = Callable[[range, int], Tensor]  # (images, step) -> (n,)


def denoising_loss(
    model: LatentDiffusion,
    prompt: str,
    draws: Draws,
    *,
    samples: int = 1,
    timesteps: Timesteps | None = None,
) -> Loss:
    """Eq. 1 at a fresh posterior sample, timestep and noise per image and step.

    The mean over `samples` draws of timestep and noise per pass of the autoencoder. `timesteps`
    are uniform unless given. The prompt is embedded once, here: make a new loss after the text
    encoder has been trained.
    """
    context, timesteps = embedded(model, prompt), timesteps or uniform(model, draws)

    def loss(x: Tensor, images: range, step: int) -> Tensor:
        z = posterior_sample(model, x, draws, images, step)
        numbers = range(step * samples, (step + 1) * samples)
        losses = [
            model.denoising_loss(
                z, context, timesteps(images, n), draws.normal("noise", z.shape[1:], images, n)
            )
            for n in numbers
        ]
        return torch.stack(losses).mean(0)

    return loss


def targeted_loss(model: LatentDiffusion, prompt: str, z_target: Tensor, draws: Draws) -> Loss:
    """L_cond minus the distance of the denoised latent to the target's at the step before.

    Anti-DreamBooth's targeted variants: mse(z_{t-1} of the prediction, q(z_{t-1} | z_target)),
    the former by one deterministic step (DDIM). `z_target` is (1, c, h, w). At t = 0 there is no
    step before: both are clean latents (the released code's index wraps to T - 1).
    """
    context, uniform_timesteps = embedded(model, prompt), uniform(model, draws)

    def loss(x: Tensor, images: range, step: int) -> Tensor:
        z = posterior_sample(model, x, draws, images, step)
        t = uniform_timesteps(images, step)
        noise = draws.normal("noise", z.shape[1:], images, step)
        z_t = model.add_noise(z, noise, t)
        prediction = model.predict(z_t, t, context)
        error = (prediction - model.target(z, noise, t)).square()
        before = model.add_noise(z_target.expand_as(z), noise, t - 1)
        toward = (model.previous(z_t, prediction, t) - before).square()
        return (error - toward).mean(dim=(1, 2, 3))

    return loss


def conditional_loss(
    model: LatentDiffusion, prompt: str, draws: Draws, z_target: Tensor | None
) -> Loss:
    """L_cond, or the targeted loss if there is a target's latent."""
    if z_target is None:
        return denoising_loss(model, prompt, draws)
    return targeted_loss(model, prompt, z_target, draws)


@torch.no_grad()
def latent_of(target: Target, model: LatentDiffusion, size: int) -> Tensor:
    """That of a target picture, (1, c, h, w); the autoencoder is never trained."""
    return model.encode(target(size))


def posterior_sample(
    model: LatentDiffusion, x: Tensor, draws: Draws, images: Sequence[int], step: int
) -> Tensor:
    """A scaled latent of each image, fresh at each step; carries the gradient."""
    mean, std = model.posterior(x)
    return model.reparameterize(mean, std, draws.normal("posterior", mean.shape[1:], images, step))


@torch.no_grad()
def embedded(model: LatentDiffusion, prompt: str) -> Tensor:
    """One row of context, constant while the text encoder is."""
    return model.encode_prompt([prompt])


def uniform(model: LatentDiffusion, draws: Draws) -> Timesteps:
    """Timesteps uniform in 0 ... T-1."""
    return lambda images, step: draws.integers("timestep", model.num_timesteps, images, step)
