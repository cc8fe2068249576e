"""The adaptive attack: through the purification (section 5, Table 3 of the paper).

The paper says only that it follows AdvDM and considers the trajectory of guided sampling. Three
ways to do that are here, and the worst of them for a person is what counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffshortcut import links
from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.perturbation import FixedObjective
from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.purifiers.purifier import Differentiable, Purifier, Sampling
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class Adaptive(FixedObjective):
    """Raise what goes wrong behind the purifier `target`, a chain of links.

    level `bpda` (A): the denoising loss of the model at the purified image, the gradient passing
    the whole purifier as if it were the identity. `trajectory` (B): the error of the upscaler's
    guided denoiser at a timestep of its own sampler, links before it with their gradient; without
    an upscaler at the end, the model's denoising loss behind all links. `unrolled` (C): the
    distance of the purified image from the purified clean one, the upscaler's sampler unrolled for
    `unrolled_steps` steps. Links without a gradient pass it as the identity does.
    """

    surrogate: LatentDiffusion
    prompt: str
    target: dict[str, Purifier]
    level: Literal["bpda", "trajectory", "unrolled"] = "trajectory"
    unrolled_steps: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unrolled_steps < 1:
            raise ValueError("unrolled_steps must be at least 1")
        if not self.target:
            raise ValueError("target names no purifier: add purifier=... to the cell")

    @property
    def held_out_draws(self) -> int:
        """Of its objective: a draw is a whole purification, but for B's before a link that samples.

        There the last link's denoiser is asked once instead.
        """
        *_, last = self.target.values()
        return 64 if self.level == "trajectory" and isinstance(last, Sampling) else 8

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """The loss of the level."""
        if self.level == "bpda":
            return self._bpda(draws)
        return (
            self._trajectory(draws) if self.level == "trajectory" else self._unrolled(scene, draws)
        )

    def _bpda(self, draws: Draws) -> Loss:
        denoising, chain = denoising_loss(self.surrogate, self.prompt, draws), self._chain()

        def loss(x: Tensor, images: range, step: int) -> Tensor:
            purified = x
            for scope, link in chain:
                purified = _as_identity(link, purified, _at(draws, images, step).scope(scope))
            return denoising(purified, images, step)

        return loss

    def _trajectory(self, draws: Draws) -> Loss:
        denoising = denoising_loss(self.surrogate, self.prompt, draws)
        *before, (scope, last) = self._chain()

        def loss(x: Tensor, images: range, step: int) -> Tensor:
            here = _at(draws, images, step)
            reached = self._through(before, x, here)
            if isinstance(last, Sampling):
                return last.trajectory_loss(reached, x, here.scope(scope))
            return denoising(self._through([(scope, last)], reached, here), images, step)

        return loss

    def _unrolled(self, scene: Scene, draws: Draws) -> Loss:
        clean, chain = self.beside(scene.seen(scene.images), draws), self._chain()

        def loss(x: Tensor, images: range, step: int) -> Tensor:
            here = _at(draws, images, step)
            with torch.no_grad():
                expected = self._through(chain, clean(images, step), here)
            return (self._through(chain, x, here) - expected).square().mean((1, 2, 3))

        return loss

    def _chain(self) -> list[tuple[str, Purifier]]:
        """The links, each with the scope of its draws: that of the stage that purifies."""
        chain = list(self.target.values())
        return list(zip(links.scopes([type(link).__name__ for link in chain]), chain, strict=True))

    def _through(self, chain: Iterable[tuple[str, Purifier]], x: Tensor, draws: Draws) -> Tensor:
        for scope, link in chain:
            own = draws.scope(scope)
            if isinstance(link, Differentiable):
                x = link.with_gradient(x, own, steps=self.unrolled_steps)
            else:
                x = _as_identity(link, x, own)
        return x


def _as_identity(link: Purifier, x: Tensor, draws: Draws) -> Tensor:
    """What the link gives, with the gradient of the identity (BPDA, Athalye et al. 2018)."""
    with torch.no_grad():
        change = link(x, draws) - x
    return x + change


def _at(draws: Draws, images: range, step: int) -> Draws:
    """The purifier's draws at a step, for a part of the person's images."""
    return draws.scope(f"purify {step}").from_image(images.start)
