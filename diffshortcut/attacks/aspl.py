"""ASPL, alternating surrogate and perturbation learning (Anti-DreamBooth, Van Le et al. 2023)."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.attacks.alternating import Alternating
from diffshortcut.attacks.denoising import denoising_loss, targeted_loss
from diffshortcut.attacks.pgd import Loss, gradient_of
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.target import Target
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class ASPL(Alternating):
    """Per round: a clone of the surrogate learns the clean set_A, the perturbation ascends the
    clone's denoising loss, then the surrogate learns the perturbed set_B.

    With a `target` picture it is T-ASPL: the denoised latents are also pulled towards it.
    """

    surrogate: LatentDiffusion
    target_picture: Target | None = None

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        pair = self.pair(self.surrogate, scene.class_prior(), scene, draws)
        state = scene.variables(x=scene.images, surrogate=pair.surrogate, clone=pair.clone)
        for number in scene.checkpoint.track(range(self.rounds), "aspl", state):
            self.learn_clean(pair)
            state.x = self.ascend(
                state.x,
                scene,
                gradient_of(self._loss(pair.model, scene, draws)),
                draws,
                steps=self.pgd_steps,
                first_step=number * self.pgd_steps,
            )
            self.learn_perturbed(pair, state.x, scene)
        return state.x

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """The loss of the model before any training."""
        return self._loss(self.surrogate, scene, draws)

    def _loss(self, model: LatentDiffusion, scene: Scene, draws: Draws) -> Loss:
        if self.target_picture is None:
            return denoising_loss(model, self.instance_prompt, draws)
        picture = self.target_picture(scene.clean.shape[-1])
        return targeted_loss(model, self.instance_prompt, picture, draws)
