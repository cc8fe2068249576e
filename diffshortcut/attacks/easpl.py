"""E-ASPL: ASPL against an ensemble of models (Van Le et al. 2023; Eq. 3 with several theta')."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffshortcut.attacks.alternating import Alternating, Pair
from diffshortcut.attacks.ball import project
from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.pgd import Gradient, Loss, gradient_of
from diffshortcut.attacks.scene import Scene
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class EnsembleASPL(Alternating):
    """ASPL's rounds with several surrogates, each with a clone of its own.

    combine: `sequential`, the paper's interleaving: one model after the other within a round, each
    from the images the one before left. `average`, the released code's: each from the same images,
    then the mean of the results, which shrinks the perturbation where they disagree.
    `gradient_mean`: one ascent along the mean of their gradients.
    """

    surrogates: dict[str, LatentDiffusion]
    combine: Literal["sequential", "average", "gradient_mean"] = "sequential"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.surrogates:
            raise ValueError("surrogates must name at least one model")

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        prior = scene.class_prior()
        pairs = {
            name: self.pair(model, prior, scene, draws.scope(name))
            for name, model in self.surrogates.items()
        }
        trainings = {f"surrogate_{name}": pair.surrogate for name, pair in pairs.items()}
        clones = {f"clone_{name}": pair.clone for name, pair in pairs.items()}
        state = scene.variables(x=scene.images, **trainings, **clones)
        for number in scene.checkpoint.track(range(self.rounds), "easpl", state):
            state.x = self._round(number, state.x, pairs, scene, draws)
        return state.x

    def _round(
        self, number: int, x: Tensor, pairs: dict[str, Pair], scene: Scene, draws: Draws
    ) -> Tensor:
        if self.combine == "gradient_mean":
            return self._together(number, x, pairs, scene, draws)
        results = []
        for name, pair in pairs.items():
            self.learn_clean(pair)
            loss = denoising_loss(pair.model, self.instance_prompt, draws.scope(name))
            result = self._ascend(number, x, gradient_of(loss), scene, draws.scope(name))
            self.learn_perturbed(pair, result, scene)
            results.append(result)
            if self.combine == "sequential":
                x = result
        if self.combine == "sequential":
            return x
        return project(torch.stack(results).mean(0), scene.images, self.radius)  # but for rounding

    def _together(
        self, number: int, x: Tensor, pairs: dict[str, Pair], scene: Scene, draws: Draws
    ) -> Tensor:
        for pair in pairs.values():
            self.learn_clean(pair)
        models = {name: pair.model for name, pair in pairs.items()}
        x = self._ascend(number, x, gradient_of(self._mean(models, draws)), scene, draws)
        for pair in pairs.values():
            self.learn_perturbed(pair, x, scene)
        return x

    def _ascend(
        self, number: int, x: Tensor, gradient: Gradient, scene: Scene, draws: Draws
    ) -> Tensor:
        first = number * self.pgd_steps
        return self.ascend(x, scene, gradient, draws, steps=self.pgd_steps, first_step=first)

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """The mean loss of the models before any training."""
        return self._mean(self.surrogates, draws)

    def _mean(self, models: dict[str, LatentDiffusion], draws: Draws) -> Loss:
        losses = [
            denoising_loss(model, self.instance_prompt, draws.scope(name))
            for name, model in models.items()
        ]
        return lambda x, images, step: torch.stack([f(x, images, step) for f in losses]).mean(0)
