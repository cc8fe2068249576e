"""FSMG, fully trained surrogate model guidance (Anti-DreamBooth, Van Le et al. 2023)."""

from dataclasses import dataclass
from typing import ClassVar

from diffshortcut.attacks.denoising import conditional_loss, latent_of
from diffshortcut.attacks.perturbation import FixedObjective
from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.target import Target
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class FSMG(FixedObjective):
    """Ascend the denoising loss of one model that was personalized on the clean set_A before.

    That model is a stage of its own (`attack.personalized` in the yaml), the victim's trainer on
    other pictures. With a `target_picture` it is T-FSMG.
    """

    learns_set_A: ClassVar[bool] = True  # noqa: N815
    surrogate: LatentDiffusion
    instance_prompt: str
    target_picture: Target | None = None

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """L_cond of the personalized model (Eq. 4)."""
        model = scene.personalized_model(self.surrogate)
        target, size = self.target_picture, scene.clean.shape[-1]
        z_target = None if target is None else latent_of(target, model, size)
        return conditional_loss(model, self.instance_prompt, draws, z_target)
