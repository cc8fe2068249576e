"""Projected gradient ascent in an l_inf ball (Eq. 4): the one loop that every attack runs."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffshortcut.attacks.ball import project
from diffshortcut.errors import UserError
from diffshortcut.pictures.images import LEVELS, batches
from diffshortcut.precision import gradients

# (x, their indices among the person's images, step) -> one value per image (n,). A loss draws by
# index and step, so that the size of the batch it is called with cannot change its draws.
Loss = Callable[[Tensor, range, int], Tensor]
# the same arguments -> (value per image (n,), direction of ascent, shaped like x)
Gradient = Callable[[Tensor, range, int], tuple[Tensor, Tensor]]
# (direction, step) -> what is added to x, in 8-bit levels
Move = Callable[[Tensor, int], Tensor]


def gradient_of(
    loss: Loss,
    *,
    also: Sequence[Tensor] = (),
    told: Callable[[Sequence[Tensor]], None] = lambda slopes: None,
) -> Gradient:
    """The gradient of a loss with respect to the images: no parameter gets a gradient.

    Of weights that are `also` asked for, the gradient of each call's sum is `told`.
    """

    def gradient(x: Tensor, images: range, step: int) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            values = loss(x, images, step)
            direction, *slopes = gradients(values.sum(), [x, *also])
        told(slopes)
        return values.detach().to(x.device), direction

    return gradient


def along_sign(step: float) -> Move:
    """`step` levels along the sign of the gradient."""
    return lambda direction, number: step * direction.sign()


def ascend(
    x: Tensor,
    clean: Tensor,
    gradient: Gradient,
    *,
    radius: float,
    step: float | Move,
    steps: int,
    first_step: int = 0,
    micro_batch: int | None = None,
    record: Callable[[Tensor, Tensor], None] | None = None,
    names: Sequence[str] = (),
) -> Tensor:
    """`steps` steps x <- project(x + step * sign(gradient)) from x (n, 3, h, w) in [0, 1].

    The ball of `radius` lies around `clean`; steps are numbered from `first_step`, so that an
    attack of many short calls never repeats a draw; `micro_batch` images are held in memory at
    once; `record` is told the values (n,) and gradients of each step. UserError naming step and
    image, by its number unless there are `names`, if a value or a gradient is not finite.
    """
    move = step if callable(step) else along_sign(step)
    for number in range(first_step, first_step + steps):
        value, direction = of_all(gradient, x, number, micro_batch, names)
        if record is not None:
            record(value, direction)
        x = project(x + move(direction, number) / LEVELS, clean, radius)
    return x.detach()


def of_all(
    gradient: Gradient,
    x: Tensor,
    number: int,
    micro_batch: int | None = None,
    names: Sequence[str] = (),
) -> tuple[Tensor, Tensor]:
    """Value and gradient of every image at step `number`, `micro_batch` images at once.

    UserError naming step and image if one is not finite.
    """
    parts = (gradient(x[i.start : i.stop], i, number) for i in batches(len(x), micro_batch))
    values, directions = zip(*parts, strict=True)
    value, direction = torch.cat(values), torch.cat(directions)
    _require_finite(value, direction, number, names)
    return value, direction


def _require_finite(value: Tensor, direction: Tensor, step: int, names: Sequence[str]) -> None:
    finite = value.isfinite() & direction.flatten(1).isfinite().all(dim=1)
    if not finite.all():
        image = int((~finite).nonzero()[0])
        raise UserError(
            f"attack step {step}, image {names[image] if names else image}:"
            f" loss {float(value[image])}, not finite or with a gradient that is not;"
            " precision=float32 may help"
        )
