"""CAAT: cross-attention attack, images and attention projections at once (Xu et al. 2024)."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.attacks.adapted import cross_attention
from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.eot import EoT
from diffshortcut.attacks.perturbation import FixedObjective
from diffshortcut.attacks.pgd import Loss, gradient_of
from diffshortcut.attacks.scene import Scene
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class CAAT(FixedObjective):
    """From one backward pass the images ascend the denoising loss, and the key and value
    projections of the cross-attention descend it.
    """

    surrogate: LatentDiffusion
    prompt: str
    learning_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate <= 0:
            raise ValueError("learning_rate must be above 0")

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        attention = cross_attention(self.surrogate, self.learning_rate)
        loss = denoising_loss(attention.model, self.prompt, draws)
        # that for the projections is kept until they descend
        gradient = gradient_of(loss, also=attention.weights, told=attention.add_slopes)
        passes = (self.eot or EoT()).samples  # whose gradients are added up
        start = self.start(scene, draws, random=self.random_start)
        state = scene.variables(x=start, attention=attention)
        for number in scene.checkpoint.track(range(self.steps), "caat", state):
            state.x = self.ascend(state.x, scene, gradient, draws, steps=1, first_step=number)
            attention.descend(scale=1 / len(state.x) / passes)
        return state.x

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """Eq. 1 of the model before any training."""
        return denoising_loss(self.surrogate, self.prompt, draws)
