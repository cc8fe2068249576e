"""MetaCloak: a meta-learned pool of surrogates, transformed images (Liu et al. 2024; Eq. 3)."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.pgd import Loss, gradient_of
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.surrogate import WithSurrogates, restore, weights_of
from diffshortcut.dreambooth import Posterior, Training
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class MetaCloak(WithSurrogates):
    """The perturbation must fool a person's model at every stage of its training.

    First a surrogate learns set_B, and snapshots of it at evenly spaced steps, the first and the
    last included, form the pool. Then, `trails` times over the pool: from a snapshot, `rounds`
    times, the perturbation ascends the denoising loss of transformed images (`eot`) and the
    surrogate learns the perturbed images. `normalize_surrogate=False` is the released code's bug:
    its surrogates are trained on images whose values reach 255 where the autoencoder takes 1.
    """

    surrogate: LatentDiffusion
    surrogate_steps: int
    snapshots: int
    trails: int
    rounds: int
    pgd_steps: int
    advance_steps: int
    normalize_surrogate: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.snapshots, self.trails, self.rounds, self.pgd_steps) < 1:
            raise ValueError("snapshots, trails, rounds and pgd_steps must be at least 1")
        if min(self.surrogate_steps, self.advance_steps) < 0:
            raise ValueError("surrogate_steps and advance_steps must be at least 0")

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        prior = Posterior.of(self.surrogate, scene.class_prior())
        surrogate = self.training(self.surrogate, prior, draws.scope("surrogate"))
        pool = self._pool(surrogate, scene)
        state = scene.variables(x=scene.images, surrogate=surrogate)
        total = self.trails * len(pool) * self.rounds
        for number in scene.checkpoint.track(range(total), "metacloak", state):
            snapshot, round_of_it = divmod(number, self.rounds)
            if round_of_it == 0:
                restore(surrogate, pool[snapshot % len(pool)])
            state.x = self.ascend(
                state.x,
                scene,
                gradient_of(denoising_loss(surrogate.model, self.instance_prompt, draws)),
                draws,
                steps=self.pgd_steps,
                first_step=number * self.pgd_steps,
            )
            self.fine_tune(surrogate, self._posterior(scene.seen(state.x)), self.advance_steps)
        return state.x

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """The loss of the model before any training."""
        return denoising_loss(self.surrogate, self.instance_prompt, draws)

    def _pool(self, surrogate: Training, scene: Scene) -> list[list[Tensor]]:
        posterior, last = self._posterior(scene.seen(scene.images)), max(self.snapshots - 1, 1)
        pool: list[Tensor] = []  # the snapshots' weights, one snapshot after the other
        state = scene.variables(surrogate=surrogate, pool=pool)
        for i in scene.checkpoint.track(range(self.snapshots), "metacloak: surrogate", state):
            surrogate.train(posterior, i * self.surrogate_steps // last - surrogate.step)
            state.pool = [*state.pool, *weights_of(surrogate)]
        surrogate.reset_optimizer()  # the ascent that follows needs the memory
        size = len(surrogate.model.trainable_parameters())
        return [state.pool[i : i + size] for i in range(0, len(state.pool), size)]

    def _posterior(self, images: Tensor) -> Posterior:
        return Posterior.of(self.surrogate, images if self.normalize_surrogate else _raw(images))


def _raw(images: Tensor) -> Tensor:
    """What the autoencoder, which takes 2x - 1, must be given to see the 8-bit levels."""
    return (255 * images + 1) / 2
