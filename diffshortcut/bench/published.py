"""The published loops, plainly: what `make bench-attacks` measures our attacks beside.

A function per method: the same attack object, scene, draws, steps and images as ours and float32,
so that the images are equal but for rounding. Only what is on record about a release is wasted, and
each docstring says what (in brackets the section of the notes on the releases that it was written
from; they are not in this repository). Where no waste is on record there is none here. It was
committed before anything was measured with it (what ours saved was there already, but for what
experiments/bench/README.md names) and has followed corrections of a method alone.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from diffshortcut.attacks.advdm import AdvDM
from diffshortcut.attacks.ball import LEVELS, project, random_start
from diffshortcut.attacks.caat import CAAT
from diffshortcut.attacks.fsmg import FSMG
from diffshortcut.attacks.glaze import Glaze
from diffshortcut.attacks.mist import Mist
from diffshortcut.attacks.perturbation import Perturbation
from diffshortcut.attacks.photoguard import EncoderAttack
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.sds import SDS
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


def fsmg(attack: FSMG, scene: Scene, draws: Draws) -> Tensor:
    """Gradients of all weights, then clipped; the prompt embedded for every image and step [2.1].

    Reloading and lower precision are left out.
    """
    model, x = scene.personalized_model(attack.surrogate).copy(), scene.images
    for number in scene.checkpoint.track(range(attack.steps), "FSMG", scene.variables()):
        x = climb(attack, scene, x, wasteful(model, attack.instance_prompt, draws, number))
        nn.utils.clip_grad_norm_(model.trainable_parameters(), 1.0)
    return x


def advdm(attack: AdvDM, scene: Scene, draws: Draws) -> Tensor:
    """One image after the other [2.5: GrIDPure's version]."""
    model, x = attack.surrogate, attack.start(scene, draws, random=attack.random_start)
    context = context_of(model, attack.prompt)
    for number in scene.checkpoint.track(range(attack.steps), "AdvDM", scene.variables()):

        def loss(x: Tensor, i: int, number: int = number) -> Tensor:
            z, t, noise = latent(model, x, draws, [i], number)
            return model.denoising_loss(z, context, t, noise).mean()

        x = one_by_one(attack, scene, x, loss)
    return x


def photoguard_encoder(attack: EncoderAttack, scene: Scene, draws: Draws) -> Tensor:
    """One image after the other, as its notebook attacks one [2.6]; the target is encoded once."""
    model, x = attack.surrogate, attack.start(scene, draws, random=attack.random_start)
    assert attack.target_picture is not None
    with torch.no_grad():
        target, _ = model.posterior(attack.target_picture(x.shape[-1]))

    def loss(x: Tensor, i: int) -> Tensor:
        return -(model.posterior(x)[0] - target).norm()

    for number in scene.checkpoint.track(range(attack.steps), "EncoderAttack", scene.variables()):
        step = attack.levels * (1 - 0.99 * number / attack.steps)
        x = one_by_one(attack, scene, x, loss, step)
    return x


def mist(attack: Mist, scene: Scene, draws: Draws) -> Tensor:
    """Three images encoded per image and step: for the texture, the target, the semantics [2.8]."""
    model, x = attack.surrogate, attack.start(scene, draws, random=attack.random_start)
    context = context_of(model, attack.prompt)
    picture = attack.target_picture(x.shape[-1]).expand_as(x)
    for number in scene.checkpoint.track(range(attack.steps), "Mist", scene.variables()):

        def loss(x: Tensor, number: int = number) -> Tensor:
            textural, _, _ = latent(model, x, draws, range(len(x)), number)
            with torch.no_grad():
                target = model.encode(picture)
            z, t, noise = latent(model, x, draws, range(len(x)), number)
            semantic = model.denoising_loss(z, context, t, noise).sum()
            return attack.rate * semantic - (textural - target).square().sum()

        x = climb(attack, scene, x, loss)
    return x


def sds(attack: SDS, scene: Scene, draws: Draws) -> Tensor:
    """One image after the other [10]; no backward pass of the denoiser here either [2.9]."""
    model, x = attack.surrogate, scene.images
    context, sign = context_of(model, attack.prompt), 1 if attack.direction == "plus" else -1
    for number in scene.checkpoint.track(range(attack.steps), "SDS", scene.variables()):

        def loss(x: Tensor, i: int, number: int = number) -> Tensor:
            z, t, noise = latent(model, x, draws, [i], number)
            with torch.no_grad():
                prediction = model.predict(model.add_noise(z, noise, t), t, context)
                slope = prediction - model.target(z, noise, t)
            return sign * (z * slope).sum()

        x = one_by_one(attack, scene, x, loss)
    return x


def sds_with_denoiser(attack: SDS, scene: Scene, draws: Draws) -> Tensor:
    """The step that SDS replaces: the same loss, through the denoiser and its weights [2.9, 10].

    The only function here that climbs along another direction than ours.
    """
    model, x = attack.surrogate.copy(), scene.images
    sign = 1 if attack.direction == "plus" else -1
    for number in scene.checkpoint.track(range(attack.steps), "SDS", scene.variables()):
        x = climb(attack, scene, x, wasteful(model, attack.prompt, draws, number, sign))
    return x


def caat(attack: CAAT, scene: Scene, draws: Draws) -> Tensor:
    """Images up and keys and values down from one backward pass; nothing is wasted [2.10]."""
    model, x = attack.surrogate.copy(), scene.images
    context = context_of(model, attack.prompt)
    for name, weight in model.unet.named_parameters():
        weight.requires_grad_("attn2.to_k" in name or "attn2.to_v" in name)
    moving = [weight for weight in model.unet.parameters() if weight.requires_grad]
    optimizer = adamw(moving, attack.learning_rate)
    for number in scene.checkpoint.track(range(attack.steps), "caat", scene.variables()):

        def loss(x: Tensor, number: int = number) -> Tensor:
            z, t, noise = latent(model, x, draws, range(len(x)), number)
            return model.denoising_loss(z, context, t, noise).mean()

        optimizer.zero_grad()
        x = climb(attack, scene, x, loss)
        optimizer.step()
    return x


def glaze(attack: Glaze, scene: Scene, draws: Draws) -> Tensor:
    """IMPRESS: one image at a time, gradients of the autoencoder's weights, the restyled image
    encoded at every step [2.7, 10].

    That the perceptual net is built again is left out.
    """
    vae = copy.deepcopy(attack.surrogate.vae).requires_grad_(True)
    model, x = replace(attack.surrogate, vae=vae), scene.images
    x = random_start(x, min(attack.radius, attack.visible * LEVELS / 2), draws)
    scaling = vae.config.scaling_factor
    with torch.no_grad():
        restyled = attack.style(scene.images, draws.scope("style"))
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    for number in scene.checkpoint.track(range(attack.steps), "glaze", scene.variables()):
        slopes = []
        for i, image in enumerate(x.split(1)):
            image = image.clone().requires_grad_()
            with torch.no_grad():
                target = model.encode(restyled[i : i + 1])
            z, _, _ = latent(model, image, draws, [i], number)
            distance = attack.perceptual.distance(scene.images[i : i + 1], image)
            seen = (distance - attack.visible).relu()
            (((z - target) / scaling).square().mean() + attack.weight * seen.sum()).backward()
            slopes.append(image.grad)
        slope = torch.cat(slopes)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope.square()
        deviation = (square / (1 - 0.999 ** (number + 1))).sqrt() + 1e-8
        move = attack.learning_rate * mean / (1 - 0.9 ** (number + 1)) / deviation
        x = project(x - move, scene.images, attack.radius)
    return x


# --- what they share ------------------------------------------------------------------------


def latent(
    model: LatentDiffusion, x: Tensor, draws: Draws, images: range | list[int], step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """A posterior sample of images with their timesteps and noise, by our draws."""
    mean, std = model.posterior(x)
    normal = draws.normal("posterior", mean.shape[1:], images, step)
    t = draws.integers("timestep", model.num_timesteps, images, step)
    noise = draws.normal("noise", mean.shape[1:], images, step)
    return model.reparameterize(mean, std, normal), t, noise


def wasteful(
    model: LatentDiffusion, prompt: str, draws: Draws, step: int, sign: int = 1
) -> Callable[[Tensor], Tensor]:
    """The denoising loss of a batch, or minus it; the prompt embedded for each image [2.2: 5]."""

    def loss(x: Tensor) -> Tensor:
        z, t, noise = latent(model, x, draws, range(len(x)), step)
        context = model.encode_prompt([prompt] * len(x))
        return sign * model.denoising_loss(z, context, t, noise).mean()

    return loss


def climb(
    attack: Perturbation,
    scene: Scene,
    x: Tensor,
    loss: Callable[[Tensor], Tensor],
    step: float | None = None,
) -> Tensor:
    """A step along the sign; every weight that asks for a gradient gets one and keeps it."""
    x = x.detach().requires_grad_()
    loss(x).backward()
    return moved(attack, scene, x, step)


def one_by_one(
    attack: Perturbation,
    scene: Scene,
    x: Tensor,
    loss: Callable[[Tensor, int], Tensor],
    step: float | None = None,
) -> Tensor:
    """A step along the sign of each image for itself."""
    x = x.detach().requires_grad_()
    for i in range(len(x)):
        loss(x[i : i + 1], i).backward()
    return moved(attack, scene, x, step)


def moved(attack: Perturbation, scene: Scene, x: Tensor, step: float | None) -> Tensor:
    """Images, one step along the sign of their gradient, back in the ball."""
    assert x.grad is not None
    levels = attack.levels if step is None else step
    with torch.no_grad():
        return project(x + levels * x.grad.sign() / LEVELS, scene.images, attack.radius)


@torch.no_grad()
def context_of(model: LatentDiffusion, prompt: str) -> Tensor:
    """A prompt, embedded once, where nothing else is on record."""
    return model.encode_prompt([prompt])


def adamw(weights: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """AdamW as it comes."""
    return torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
