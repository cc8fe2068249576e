"""What every attack by projected gradient ascent has in common."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.attacks.ball import check_budget, random_start
from diffshortcut.attacks.eot import EoT
from diffshortcut.attacks.pgd import Gradient, Loss, Move, ascend, gradient_of, of_all
from diffshortcut.attacks.scene import Scene
from diffshortcut.seeding import Draws


def _itself(pictures: Tensor) -> Tensor:
    return pictures


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """An l_inf ball, a step and, around every gradient, an expectation over transformation.

    `radius` and `step` are in 8-bit levels; without a step it is a tenth of the radius.
    """

    radius: float
    step: float | None = None
    eot: EoT | None = None
    micro_batch: int | None = None  # images held in memory at once; None: all

    def __post_init__(self) -> None:
        check_budget(radius=self.radius, step=self.step or 0)

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        """What the attack raises, of images as models see them, at the models it starts from."""
        raise NotImplementedError

    def ascend(
        self,
        x: Tensor,
        scene: Scene,
        gradient: Gradient,
        draws: Draws,
        *,
        steps: int,
        first_step: int = 0,
        step: float | Move | None = None,
    ) -> Tensor:
        """Some steps from x, a version of scene.images, which may be of any size.

        `gradient` is of images as models see them.
        """
        step = self.levels if step is None else step
        return ascend(
            x,
            scene.images,
            self._at_full_size(gradient, scene, draws),
            radius=self.radius,
            step=step,
            steps=steps,
            first_step=first_step,
            micro_batch=self.micro_batch,
            record=scene.record,
            names=scene.names,
        )

    def slopes(
        self, x: Tensor, scene: Scene, gradient: Gradient, draws: Draws, number: int
    ) -> Tensor:
        """The gradient along which `ascend` would go from x at step `number`."""
        full_size = self._at_full_size(gradient, scene, draws)
        return of_all(full_size, x, number, self.micro_batch, scene.names)[1]

    @property
    def levels(self) -> float:
        """The step in 8-bit levels."""
        return self.radius / 10 if self.step is None else self.step

    def start(self, scene: Scene, draws: Draws, *, random: bool) -> Tensor:
        """The clean images, or a uniform draw from the ball around them."""
        return random_start(scene.images, self.radius, draws) if random else scene.images

    def beside(
        self, pictures: Tensor, draws: Draws, encode: Callable[[Tensor], Tensor] = _itself
    ) -> Callable[[range, int], Tensor]:
        """What an objective compares images with, by (images, step): `encode` of `pictures`.

        (n, 3, h, w), an image's own each. Where `eot` moves the image they move with it; else they
        are encoded once.
        """
        eot = self.eot or EoT()
        if not eot.transforms:
            with torch.no_grad():
                parts = pictures.split(self.micro_batch or max(len(pictures), 1))
                once = torch.cat([encode(part) for part in parts])
            return lambda images, step: once[list(images)]

        @torch.no_grad()
        def moved(images: range, step: int) -> Tensor:
            return encode(eot.transform(pictures[list(images)], draws, images, step))

        return moved

    def _at_full_size(self, gradient: Gradient, scene: Scene, draws: Draws) -> Gradient:
        transformed = (self.eot or EoT()).over(gradient, draws)
        if scene.view is None:
            return transformed
        view = scene.view

        def full_size(x: Tensor, images: range, step: int) -> tuple[Tensor, Tensor]:
            x = x.detach().requires_grad_()
            with torch.enable_grad():
                seen = view(x, images)
            values, direction = transformed(seen.detach(), images, step)
            return values, torch.autograd.grad(seen, x, direction)[0]

        return full_size


@dataclass(frozen=True, kw_only=True)
class FixedObjective(Perturbation):
    """An attack that climbs one objective for `steps` steps: its models are never trained."""

    steps: int
    random_start: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ValueError("steps must be at least 1")

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        """The protected set_B, (n, 3, h, w) in [0, 1]."""
        gradient = self.gradient(scene, draws)
        state = scene.variables(x=self.start(scene, draws, random=self.random_start))
        for number in scene.checkpoint.track(range(self.steps), type(self).__name__, state):
            state.x = self.ascend(
                state.x, scene, gradient, draws, steps=1, first_step=number, step=self.move(number)
            )
        return state.x

    def gradient(self, scene: Scene, draws: Draws) -> Gradient:
        """The direction of ascent; that of the objective unless a method says otherwise."""
        return gradient_of(self.objective(scene, draws))

    def move(self, number: int) -> float | Move:
        """The step, in 8-bit levels, at step `number`."""
        return self.levels
