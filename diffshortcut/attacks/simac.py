"""SimAC: ASPL (Eq. 3) at the timesteps where the image matters most (Wang et al. 2024)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.attacks.alternating import Alternating
from diffshortcut.attacks.denoising import denoising_loss, embedded, posterior_sample
from diffshortcut.attacks.greedy import GreedySearch
from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.dreambooth import Posterior
from diffshortcut.models.features import decoder_features, with_features
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws

Clean = Callable[[range, int], Tensor]


@dataclass(frozen=True, kw_only=True)
class SimAC(Alternating):
    """ASPL's rounds with timesteps from a list per image that a greedy search has left, plus
    `feature_weight` times the distance of the last up block's features from the clean image's.

    The released code adds the features as a number without gradient (`attach_features` false).
    """

    surrogate: LatentDiffusion
    greedy: GreedySearch
    feature_weight: float
    attach_features: bool = True

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        lists = self.greedy(self, self.surrogate, self.instance_prompt, scene, draws)
        clean = self._clean(scene, draws)
        return self.alternate(
            self.surrogate,
            "simac",
            scene,
            draws,
            lambda model: self._loss(model, clean, draws, lists),
        )

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """The loss of the model before any training, at any timestep: no search has been made."""
        any_of = torch.arange(self.surrogate.num_timesteps, device="cpu")
        lists = [any_of for _ in scene.names]
        return self._loss(self.surrogate, self._clean(scene, draws), draws, lists)

    def _clean(self, scene: Scene, draws: Draws) -> Clean:
        """(images, step) -> (n, 2, c, h, w): mean and standard deviation of the clean latents."""

        def encode(pictures: Tensor) -> Tensor:
            posterior = Posterior.of(self.surrogate, pictures)
            return torch.stack([posterior.mean, posterior.std], dim=1)

        return self.beside(scene.seen(scene.images), draws, encode)

    def _loss(
        self, model: LatentDiffusion, clean: Clean, draws: Draws, lists: list[Tensor]
    ) -> Loss:
        def timesteps(images: range, step: int) -> Tensor:
            unit = draws.uniform("timestep", (), images, step)
            chosen = zip((lists[i] for i in images), unit, strict=True)
            return torch.stack([some[int(u * len(some))] for some, u in chosen])

        if not self.attach_features or self.feature_weight == 0:
            # a number without gradient changes no step
            return denoising_loss(model, self.instance_prompt, draws, timesteps=timesteps)
        context = embedded(model, self.instance_prompt)

        def loss(x: Tensor, images: range, step: int) -> Tensor:
            z, t = posterior_sample(model, x, draws, images, step), timesteps(images, step)
            noise = draws.normal("noise", z.shape[1:], images, step)
            sample = draws.normal("posterior", z.shape[1:], images, step)
            mean, std = clean(images, step).unbind(1)
            z_clean = model.reparameterize(mean, std, sample)
            with torch.no_grad():
                before = decoder_features(model, model.add_noise(z_clean, noise, t), t, context)
            prediction, after = with_features(model, model.add_noise(z, noise, t), t, context)
            error = (prediction - model.target(z, noise, t)).square().mean((1, 2, 3))
            return error + self.feature_weight * (after - before).square().flatten(1).mean(1)

        return loss
