"""The rounds that ASPL, its ensemble and SimAC share (Eq. 3): learn clean, ascend, learn again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffshortcut.attacks.pgd import Loss, gradient_of
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.surrogate import WithSurrogates, restore
from diffshortcut.dreambooth import Posterior, Training
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


@dataclass(frozen=True)
class Pair:
    """A surrogate that learns the perturbed set_B, and its clone, which learns set_A as well."""

    surrogate: Training
    clone: Training
    clean: Posterior  # of set_A

    @property
    def model(self) -> LatentDiffusion:
        """The clone: what the perturbation is to fool."""
        return self.clone.model


@dataclass(frozen=True, kw_only=True)
class Alternating(WithSurrogates):
    """How many rounds, and how many steps each part of a round has."""

    learns_set_A: ClassVar[bool] = True  # noqa: N815
    rounds: int
    clean_steps: int
    pgd_steps: int
    adversarial_steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.rounds, self.pgd_steps) < 1:
            raise ValueError("rounds and pgd_steps must be at least 1")
        if min(self.clean_steps, self.adversarial_steps) < 0:
            raise ValueError("clean_steps and adversarial_steps must be at least 0")

    def alternate(
        self,
        model: LatentDiffusion,
        what: str,
        scene: Scene,
        draws: Draws,
        loss: Callable[[LatentDiffusion], Loss],
    ) -> Tensor:
        """All rounds against one model; `loss` is that of a round's clone."""
        pair = self.pair(model, scene.class_prior(), scene, draws)
        state = scene.variables(x=scene.images, surrogate=pair.surrogate, clone=pair.clone)
        for number in scene.checkpoint.track(range(self.rounds), what, state):
            self.learn_clean(pair)
            state.x = self.ascend(
                state.x,
                scene,
                gradient_of(loss(pair.model)),
                draws,
                steps=self.pgd_steps,
                first_step=number * self.pgd_steps,
            )
            self.learn_perturbed(pair, state.x, scene)
        return state.x

    def pair(self, model: LatentDiffusion, prior: Tensor, scene: Scene, draws: Draws) -> Pair:
        """Two copies of `model`, trained with the class images `prior`."""
        encoded, clean = Posterior.of(model, prior), Posterior.of(model, scene.clean)
        surrogate = self.training(model, encoded, draws.scope("surrogate"))
        return Pair(surrogate, self.training(model, encoded, draws.scope("clone")), clean)

    def learn_clean(self, pair: Pair) -> None:
        """The clone becomes the surrogate again, then learns set_A."""
        restore(pair.clone, pair.surrogate.model.trainable_parameters())
        self.fine_tune(pair.clone, pair.clean, self.clean_steps)

    def learn_perturbed(self, pair: Pair, x: Tensor, scene: Scene) -> None:
        """The surrogate learns the perturbed images (left half of Eq. 3)."""
        perturbed = Posterior.of(pair.surrogate.model, scene.seen(x))
        self.fine_tune(pair.surrogate, perturbed, self.adversarial_steps)
