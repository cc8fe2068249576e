"""AdvDM: adversarial examples for diffusion models (Liang et al. 2023)."""

from dataclasses import dataclass

from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.perturbation import FixedObjective
from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class AdvDM(FixedObjective):
    """Ascend the expected denoising loss of the pretrained model, by Monte Carlo over t and noise.

    `samples` draws of both per pass of the autoencoder.
    """

    surrogate: LatentDiffusion
    prompt: str
    samples: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise ValueError("samples must be at least 1")

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """E over t and noise of Eq. 1."""
        return denoising_loss(self.surrogate, self.prompt, draws, samples=self.samples)
