"""The projected-gradient loop on losses whose answer is known by hand."""

import pytest
import torch
from torch import Tensor

from diffshortcut.attacks.ball import project, random_start
from diffshortcut.attacks.pgd import Loss, ascend, gradient_of
from diffshortcut.attacks.record import Record
from diffshortcut.errors import UserError
from diffshortcut.pictures.images import quantize
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="test", person="nobody")


def images(count: int = 4) -> Tensor:
    return quantize(torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1)))


def noisy_loss(x: Tensor, indices: range, step: int) -> Tensor:
    """A loss with a draw of its own per image and step."""
    target = DRAWS.uniform("target", x.shape[1:], images=indices, step=step)
    return (x - target).square().flatten(1).sum(1)


def brightness(x: Tensor, indices: range, step: int) -> Tensor:
    return x.flatten(1).sum(1)


def run(loss: Loss, clean: Tensor, **options: object) -> Tensor:
    settings = {"radius": 11, "step": 1, "steps": 20} | options
    return ascend(clean, clean, gradient_of(loss), **settings)


def levels(x: Tensor, clean: Tensor) -> Tensor:
    return (x - clean) * 255


def test_one_step_moves_by_the_step_along_the_sign() -> None:
    clean = 0.5 * torch.ones(2, 3, 4, 4)
    moved = levels(run(brightness, clean, steps=1, step=1.1), clean)
    torch.testing.assert_close(moved, torch.full_like(moved, 1.1), atol=1e-4, rtol=0)
    moved = levels(run(lambda *a: -brightness(*a), clean, steps=1), clean)
    torch.testing.assert_close(moved, torch.full_like(moved, -1.0), atol=1e-4, rtol=0)


def test_the_loss_rises_to_the_corner_of_the_ball() -> None:
    clean, record = images(), Record()
    protected = run(noisy_loss, clean, record=record)
    assert record.steps == 20 and record.never_steep() == []
    before, after = noisy_loss(clean, range(4), 99), noisy_loss(protected, range(4), 99)
    assert (after > before).all()
    bright = run(brightness, clean)
    assert torch.equal(bright, project(clean + 1, clean, 11))


@pytest.mark.parametrize("radius", [0, 0.6, 1, 6.375, 6.6, 11, 300])
def test_ball_and_range(radius: float) -> None:
    clean = images()
    protected = run(noisy_loss, clean, radius=radius, step=2.5)
    assert protected.min() >= 0 and protected.max() <= 1
    assert levels(protected, clean).abs().max() <= radius + 1e-4
    assert levels(quantize(protected), clean).abs().max() <= radius + 1e-4
    if radius == 0:
        assert torch.equal(protected, clean)


def test_draws_do_not_depend_on_the_micro_batch() -> None:
    clean = images(5)
    whole = run(noisy_loss, clean)
    for size in (1, 2, 3, 7):
        assert torch.equal(run(noisy_loss, clean, micro_batch=size), whole)
    assert not torch.equal(run(noisy_loss, clean, first_step=1), whole)


def test_calls_in_a_row_are_one_call() -> None:
    clean, gradient = images(), gradient_of(noisy_loss)
    first = ascend(clean, clean, gradient, radius=11, step=1, steps=3)
    both = ascend(first, clean, gradient, radius=11, step=1, steps=4, first_step=3)
    assert torch.equal(both, run(noisy_loss, clean, steps=7))


def test_an_attack_may_bring_its_own_gradient() -> None:
    clean = images()

    def downhill(x: Tensor, indices: range, step: int) -> tuple[Tensor, Tensor]:
        return x.flatten(1).mean(1), -torch.ones_like(x)

    darker = ascend(clean, clean, downhill, radius=3, step=1, steps=9)
    assert torch.equal(darker, project(clean - 1, clean, 3))


def test_no_parameter_gets_a_gradient_even_without_grad_mode() -> None:
    weight = torch.nn.Parameter(torch.tensor(2.0))
    with torch.no_grad():
        run(lambda x, *_: (weight * x).flatten(1).sum(1), images())
    assert weight.grad is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("micro_batch", [None, 1])
def test_what_is_not_finite_is_named(bad: float, micro_batch: int | None) -> None:
    def loss(x: Tensor, indices: range, step: int) -> Tensor:
        spoilt = torch.tensor([bad if (i, step) == (2, 5) else 1.0 for i in indices])
        return x.flatten(1).sum(1) * spoilt

    with pytest.raises(UserError, match="step 5, image 2") as error:
        run(loss, images(), micro_batch=micro_batch)
    assert "learning_rate" not in str(error.value)  # which most attacks do not have


def test_a_gradient_that_is_not_finite_is_named_although_the_loss_is() -> None:
    def loss(x: Tensor, indices: range, step: int) -> Tensor:
        return (x - x.detach()).flatten(1).sum(1).sqrt()

    with pytest.raises(UserError, match="step 0, image 0"):
        run(loss, images())


def test_random_start_fills_the_ball_by_name() -> None:
    clean = 0.5 * torch.ones(3, 3, 16, 16)
    start = levels(random_start(clean, 11, DRAWS), clean)
    assert start.abs().max() <= 11 + 1e-4
    assert start.abs().mean().sub(5.5).abs() < 0.5 and start.mean().abs() < 0.5
    assert torch.equal(random_start(clean, 11, DRAWS), random_start(clean, 11, DRAWS))
    assert not torch.equal(start[0], start[1])
