"""ASPL, alternating surrogate and perturbation learning (Van Le et al. 2023; Eq. 3 and 4)."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.attacks.alternating import Alternating
from diffshortcut.attacks.denoising import conditional_loss, latent_of
from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.target import Target
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class ASPL(Alternating):
    """Per round: a clone of the surrogate learns the clean set_A, the perturbation ascends the
    clone's denoising loss, then the surrogate learns the perturbed set_B.

    With a `target_picture` it is T-ASPL: the denoised latents are also pulled towards it.
    """

    surrogate: LatentDiffusion
    target_picture: Target | None = None

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        z_target = self._target(scene)
        return self.alternate(
            self.surrogate, "aspl", scene, draws, lambda model: self._loss(model, z_target, draws)
        )

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """The loss of the model before any training."""
        return self._loss(self.surrogate, self._target(scene), draws)

    def _target(self, scene: Scene) -> Tensor | None:
        if self.target_picture is None:
            return None
        return latent_of(self.target_picture, self.surrogate, scene.clean.shape[-1])

    def _loss(self, model: LatentDiffusion, z_target: Tensor | None, draws: Draws) -> Loss:
        return conditional_loss(model, self.instance_prompt, draws, z_target)
