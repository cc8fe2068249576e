"""The published loops of the purifiers, plainly: what `make bench-purifiers` measures ours beside.

A function per method: the same purifier object, images and draws as ours and float32, so that the
images are equal but for rounding. Only what is on record about a release is wasted (in brackets the
section of the notes on the releases, which are not in this repository). Ours batched from the
start; kernels in channels-last order came after this file was written; it stays as it is. The plain
loops of published_diffpure.py are younger than both. Loops of releases that are not rebuilt, such
as the upscaler's pipeline and CodeFormer's over faces, are `one_by_one`.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from diffshortcut.purifiers.diffpure import Noise
from diffshortcut.purifiers.gridpure import GridPure
from diffshortcut.purifiers.impress import FLOOR, Impress
from diffshortcut.purifiers.latent_diffpure import LatentDiffPure
from diffshortcut.purifiers.purifier import Purifier
from diffshortcut.seeding import Draws


def one_by_one(purifier: Purifier, images: Tensor, draws: Draws) -> Tensor:
    """One image after the other [3.3, 3.6, 3.9]."""
    return each(images, draws, purifier)


def gridpure(purifier: GridPure, images: Tensor, draws: Draws) -> Tensor:
    """One window of one image after the other [3.7]."""
    windows = purifier.windows

    def purify(x: Tensor, draws: Draws) -> Tensor:
        for iteration in range(purifier.iterations):
            cut = windows.cut(x)
            drawn = _drawn(draws.scope(f"iteration {iteration}"), cut)
            merged = windows.merge(_window_by_window(purifier, cut, drawn), x.shape)
            x = (1 - purifier.gamma) * merged + purifier.gamma * x
        return x

    return each(images, draws, purify)


def _window_by_window(purifier: GridPure, cut: Tensor, drawn: Noise) -> Tensor:
    parts = []
    for j in range(cut.shape[1]):

        def noise(purpose: str, step: int, j: int = j) -> Tensor:
            return drawn(purpose, step)[:, j]

        parts.append(purifier.diffpure(cut[:, j], purifier.t, noise))
    return torch.stack(parts, dim=1)


def latent_diffpure(purifier: LatentDiffPure, images: Tensor, draws: Draws) -> Tensor:
    """One image after the other; two branches, also where both prompts are empty [3.5]."""
    model = purifier.model

    @torch.no_grad()
    def purify(x: Tensor, draws: Draws) -> Tensor:
        contexts = torch.cat([model.encode_prompt([purifier.prompt]), model.encode_prompt([""])])
        mean, std = model.posterior(x)
        z = model.reparameterize(mean, std, draws.normal("posterior", mean.shape[1:], 1))
        z = model.add_noise(z, draws.normal("diffuse", z.shape[1:], 1), purifier.times[:1])
        for t, before in pairwise(purifier.times):
            output = model.predict(z.repeat(2, 1, 1, 1), t.expand(2), contexts)
            toward, away = output.chunk(2)
            guided = (1 + purifier.guidance) * toward - purifier.guidance * away
            fresh = draws.normal("denoise", z.shape[1:], 1, int(t))
            z = model.previous(z, guided, t.expand(1), before.expand(1), fresh)
        return model.decode(z)

    return each(images, draws, purify)


def impress(purifier: Impress, images: Tensor, draws: Draws) -> Tensor:
    """One image after the other; gradients of the autoencoder's weights, never used [3.8].

    The features of the fixed picture are computed at every step; building the perceptual net for
    every image is left out.
    """
    vae = copy.deepcopy(purifier.model.vae).requires_grad_(True)
    model = replace(purifier.model, vae=vae)

    def purify(x: Tensor, draws: Draws) -> Tensor:
        start = draws.normal("start", x.shape[1:], 1)
        p = (x * 2 - 1 + purifier.noise * start).clamp(-1, 1).requires_grad_()
        optimizer = torch.optim.Adam([p], lr=purifier.learning_rate, eps=purifier.epsilon)
        end = FLOOR if purifier.cosine else purifier.learning_rate
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, purifier.steps, eta_min=end)
        for _ in range(purifier.steps):
            decoded = model.decode(model.encode(p / 2 + 0.5), clip=False) * 2 - 1
            distance = purifier.perceptual.distance(p / 2 + 0.5, x)
            hinge = (distance - purifier.budget).clamp(min=0)
            optimizer.zero_grad()
            ((p - decoded).square().mean() + purifier.alpha * hinge.sum()).backward()
            optimizer.step()
            rate.step()
            with torch.no_grad():
                p.clamp_(-1, 1)
        return (p.detach() / 2 + 0.5).clamp(0, 1)

    return each(images, draws, purify)


def each(images: Tensor, draws: Draws, purify: Callable[[Tensor, Draws], Tensor]) -> Tensor:
    """Every image alone, with the draws it has in the batch."""
    parts = [purify(image, draws.from_image(i)) for i, image in enumerate(images.split(1))]
    return torch.cat(parts)


def _drawn(draws: Draws, cut: Tensor) -> Noise:
    """The noise of all windows of one image, drawn once as ours is."""
    return cache(lambda purpose, step: draws.normal(purpose, cut.shape[1:], 1, step))
