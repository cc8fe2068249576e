"""Expectation over transformation (Athalye et al. 2018), around the gradient of any attack."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffshortcut.attacks.pgd import Gradient, Loss
from diffshortcut.pictures.transforms import Transform
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class EoT:
    """The mean gradient over `samples` draws of the transforms, applied one after the other."""

    transforms: list[Transform] = field(default_factory=list)
    samples: int = 1

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError("samples must be at least 1")

    def over(self, gradient: Gradient, draws: Draws) -> Gradient:
        """The gradient at transformed images, pulled back to the images themselves.

        The k-th sample of a step has its own draws: of the transforms and of the loss.
        """

        def expected(x: Tensor, images: range, step: int) -> tuple[Tensor, Tensor]:
            numbers = range(step * self.samples, (step + 1) * self.samples)
            found = [self._at(gradient, x, images, number, draws) for number in numbers]
            values, directions = zip(*found, strict=True)
            return torch.stack(values).mean(0), torch.stack(directions).mean(0)

        return expected

    def of(self, loss: Loss, draws: Draws) -> Loss:
        """The loss at transformed images, a draw of the transforms per step."""
        return lambda x, images, step: loss(self.transform(x, draws, images, step), images, step)

    def transform(self, x: Tensor, draws: Draws, images: range, number: int) -> Tensor:
        """All transforms at draw `number`; the same of every version of an image."""
        for transform in self.transforms:
            x = transform(x, draws, images, number)
        return x

    def _at(
        self, gradient: Gradient, x: Tensor, images: range, number: int, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            transformed = self.transform(x, draws, images, number)
        values, direction = gradient(transformed.detach(), images, number)
        if transformed is x:
            return values, direction
        (pulled_back,) = torch.autograd.grad(transformed, x, direction)
        return values, pulled_back
