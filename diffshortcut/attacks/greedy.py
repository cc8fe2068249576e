"""SimAC's greedy search for the timesteps at which an image matters most."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.perturbation import Perturbation
from diffshortcut.attacks.pgd import gradient_of
from diffshortcut.attacks.record import Record
from diffshortcut.attacks.scene import Scene
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class GreedySearch:
    """Again and again `candidates` timesteps are drawn from those left; the ones within `window`
    of the candidate with the smallest gradient are dropped, and the image takes a step at the one
    with the largest, until `timesteps_left` or fewer remain, or after `steps` steps.
    """

    candidates: int
    window: int
    timesteps_left: int
    steps: int

    def __post_init__(self) -> None:
        if min(self.candidates, self.timesteps_left) < 1 or min(self.window, self.steps) < 0:
            raise ValueError("candidates, timesteps_left >= 1 and window, steps >= 0 are needed")

    def __call__(
        self,
        attack: Perturbation,
        model: LatentDiffusion,
        prompt: str,
        scene: Scene,
        draws: Draws,
    ) -> list[Tensor]:
        """The timesteps left for each image; the steps taken meanwhile are forgotten."""
        draws, at = draws.scope("greedy"), _Chosen(len(scene.names))
        gradient = gradient_of(denoising_loss(model, prompt, draws, timesteps=at))
        unseen = replace(scene, record=Record())  # the search is no part of the attack's course

        def slope(x: Tensor, timesteps: Tensor, step: int) -> Tensor:
            """(n,) the sum of the gradient's magnitudes of each image at its timestep."""
            at.timesteps = timesteps
            gradients = attack.slopes(x, scene, gradient, draws, step)
            return gradients.abs().flatten(1).sum(1).cpu()

        def climb(x: Tensor, timesteps: Tensor, step: int) -> Tensor:
            at.timesteps = timesteps
            return attack.ascend(x, unseen, gradient, draws, steps=1, first_step=step)

        everything = torch.arange(model.num_timesteps, device="cpu")  # where draws and slopes are
        state = scene.variables(x=scene.images, left=[everything for _ in scene.names])
        for number in scene.checkpoint.track(range(self.steps), "simac: timesteps", state):
            if all(len(some) <= self.timesteps_left for some in state.left):
                continue  # a break would leave the loop before its end is kept
            first = number * (self.candidates + 1)
            drawn = self._drawn(state.left, draws, number)
            slopes = torch.stack([slope(state.x, t, first + k) for k, t in enumerate(drawn)])
            weakest, strongest = _pick(drawn, slopes.argmin(0)), _pick(drawn, slopes.argmax(0))
            state.left = [self._without(*pair) for pair in zip(state.left, weakest, strict=True)]
            state.x = climb(state.x, strongest, first + self.candidates)
        return list(state.left)

    def _drawn(self, left: Sequence[Tensor], draws: Draws, number: int) -> Tensor:
        """(candidates, n)."""
        unit = draws.uniform("candidates", (self.candidates,), len(left), number)
        rows = [some[(u * len(some)).long()] for some, u in zip(left, unit, strict=True)]
        return torch.stack(rows, dim=1)

    def _without(self, left: Tensor, weakest: Tensor) -> Tensor:
        kept = left[(left - weakest).abs() > self.window]
        done = len(left) <= self.timesteps_left or len(kept) == 0
        return left if done else kept


class _Chosen:
    """The timestep at which each image is looked at next."""

    def __init__(self, images: int) -> None:
        self.timesteps = torch.zeros(images, dtype=torch.long, device="cpu")

    def __call__(self, images: range, step: int) -> Tensor:
        return self.timesteps[list(images)]


def _pick(drawn: Tensor, which: Tensor) -> Tensor:
    return drawn.gather(0, which[None])[0]
