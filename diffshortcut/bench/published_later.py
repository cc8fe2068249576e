"""Plain loops of three more methods; see published.py for what all of them keep."""

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from diffshortcut.attacks.adapted import Adapted, lora
from diffshortcut.attacks.mist_v2 import MistV2
from diffshortcut.attacks.photoguard import DiffusionAttack
from diffshortcut.attacks.pid import PID
from diffshortcut.attacks.scene import Scene
from diffshortcut.bench.published import context_of, latent, moved, one_by_one
from diffshortcut.samplers.img2img import descending
from diffshortcut.seeding import Draws


def pid(attack: PID, scene: Scene, draws: Draws) -> Tensor:
    """One image after the other, the clean one encoded again at every step, as released."""
    model, x = attack.surrogate, attack.start(scene, draws, random=attack.random_start)
    for _ in scene.checkpoint.track(range(attack.steps), "PID", scene.variables()):

        def loss(x: Tensor, i: int) -> Tensor:
            with torch.no_grad():
                mean, std = model.posterior(scene.images[i : i + 1])
            now, now_std = model.posterior(x)
            far = (2 * now_std.log() - 2 * std.log()).square().mean()
            return (now - mean).square().mean() + far

        x = one_by_one(attack, scene, x, loss)
    return x


def photoguard(attack: DiffusionAttack, scene: Scene, draws: Draws) -> Tensor:
    """One image, every noise a pass of its own from the encoder on, and two passes of the denoiser
    per step although both prompts are empty; nothing is computed again [2.6].
    """
    model, x = attack.surrogate, attack.start(scene, draws, random=attack.random_start)
    context, empty = context_of(model, attack.prompt), context_of(model, "")
    target = attack.target_picture(x.shape[-1])
    times = descending(model, attack.strength, attack.denoising_steps)
    for number in scene.checkpoint.track(range(attack.steps), "DiffusionAttack", scene.variables()):

        def loss(x: Tensor, i: int, sample: int, number: int = number) -> Tensor:
            z, _, _ = latent(model, x, draws, [i], number)
            index = number * attack.samples + sample
            z = model.add_noise(z, draws.normal("noise", z.shape[1:], [i], index), times[:1])
            for t, before in pairwise(times):
                t, before = t.expand(1), before.expand(1)
                away = model.predict(z, t, empty)
                guided = away + (1 + attack.guidance) * (model.predict(z, t, context) - away)
                z = model.previous(z, guided, t, before)
            return -(model.decode(z, clip=False) - target).norm()

        x = x.detach().requires_grad_()
        for i in range(len(x)):
            for sample in range(attack.samples):
                loss(x[i : i + 1], i, sample).backward()
        x = moved(attack, scene, x, None)
    return x


def mist_v2(attack: MistV2, scene: Scene, draws: Draws) -> Tensor:
    """One image after the other; the encoder passed three times for its gradient: for the latent,
    then once more with its activations thrown away and computed again [2.8].
    """
    own = draws.scope("lora")
    rate = attack.learning_rate
    adapted = lora(attack.surrogate, rank=attack.lora_rank, learning_rate=rate, draws=own)
    model, x = adapted.model, scene.images
    context = context_of(model, attack.prompt)
    with torch.no_grad():
        target = model.encode(attack.target_picture(x.shape[-1]))

    def loss(step: int, x: Tensor, i: int) -> Tensor:
        with torch.no_grad():
            z = model.encode(x)
        t = draws.integers("timestep", model.num_timesteps, [i], step)
        noise = draws.normal("noise", z.shape[1:], [i], step)
        z.requires_grad_()
        prediction = model.predict(model.add_noise(z, noise, t), t, context)
        (prediction - target).square().mean().backward()
        assert z.grad is not None
        return -(checkpoint(model.encode, x, use_reentrant=False) * z.grad).sum()

    for number in scene.checkpoint.track(range(attack.rounds), "mist_v2", scene.variables()):
        for step in range(number * attack.pgd_steps, (number + 1) * attack.pgd_steps):
            x = one_by_one(attack, scene, x, partial(loss, step))
        for step in range(number * attack.lora_steps, (number + 1) * attack.lora_steps):
            _learn(adapted, x, context, own, step)
    return x


def _learn(adapted: Adapted, x: Tensor, context: Tensor, draws: Draws, step: int) -> None:
    """A step of the LoRA on one image, encoded anew."""
    i = step % len(x)
    z, t, noise = latent(adapted.model, x[i : i + 1], draws, [i], step)
    adapted.optimizer.zero_grad()
    adapted.model.denoising_loss(z, context, t, noise).mean().backward()
    adapted.optimizer.step()
