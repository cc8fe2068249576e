"""Draws depend on their names only."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diffshortcut.seeding import Draws

DRAWS = Draws(0, "protect", "anna")


def test_a_draw_does_not_depend_on_the_batch_or_on_earlier_draws() -> None:
    whole = DRAWS.normal("noise", (2, 3), 5, step=7)
    DRAWS.normal("noise", (2, 3), 5, step=8)
    assert torch.equal(DRAWS.normal("noise", (2, 3), range(2, 4), step=7), whole[2:4])
    assert torch.equal(DRAWS.normal("noise", (2, 3), [4, 0], step=7), whole[[4, 0]])


@pytest.mark.parametrize(
    "other",
    [
        Draws(1, "protect", "anna"),
        Draws(0, "purify", "anna"),
        Draws(0, "protect", "ben"),
        DRAWS.scope("surrogate"),
    ],
)
def test_every_name_matters(other: Draws) -> None:
    assert not torch.equal(other.normal("noise", (4,), 1), DRAWS.normal("noise", (4,), 1))


def test_purpose_step_and_image_matter() -> None:
    draw = DRAWS.uniform("a", (4,), [0], step=0)
    others = [("b", [0], 0), ("a", [1], 0), ("a", [0], 1)]
    assert all(
        not torch.equal(DRAWS.uniform(p, (4,), images, step=s), draw) for p, images, s in others
    )


KINDS = {
    "normal": lambda draws, purpose, **step: draws.normal(purpose, (9, 9), 1, **step),
    "uniform": lambda draws, purpose, **step: draws.uniform(purpose, (9, 9), 1, **step),
    "signs": lambda draws, purpose, **step: draws.signs(purpose, (9, 9), 1, **step),
    "integers": lambda draws, purpose, **step: draws.integers(purpose, 9**9, 9, **step),
    "permutation": lambda draws, purpose, **step: draws.permutation(purpose, 99, **step),
}


@pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS)
def test_every_kind_of_draw_heeds_every_name(draw: Callable[..., Tensor]) -> None:
    drawn = draw(DRAWS, "a", step=0)
    assert torch.equal(draw(DRAWS, "a"), drawn)
    others = [(DRAWS, "b", 0), (DRAWS, "a", 1), (DRAWS, None, 0), (DRAWS, "a", None)]
    others += [(DRAWS.scope("b"), "a", 0), (DRAWS.from_image(1), "a", 0)]
    assert not any(torch.equal(draw(d, purpose, step=step), drawn) for d, purpose, step in others)


def test_scopes_and_images_are_named_by_where_they_are() -> None:
    inner = DRAWS.scope("surrogate").scope("training")
    assert inner == Draws(0, "protect/surrogate/training", "anna")
    later = DRAWS.from_image(2)
    assert torch.equal(later.normal("noise", (4,), 2), DRAWS.normal("noise", (4,), [2, 3]))
    assert torch.equal(
        later.scope("x").normal("n", (4,), 1), DRAWS.scope("x").normal("n", (4,), [2])
    )


def test_values_are_pinned() -> None:
    """Results may only be compared across versions as long as these stay."""
    assert DRAWS.integers("timestep", 1000, 3).tolist() == [695, 903, 361]


def test_a_draw_without_image_and_step_is_the_first() -> None:
    first = torch.rand(4, generator=DRAWS.generator("noise", image=0, step=0))
    assert torch.equal(torch.rand(4, generator=DRAWS.generator("noise")), first)
    assert not torch.equal(torch.rand(4, generator=DRAWS.generator("noise", step=1)), first)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = DRAWS.normal("noise", (4,), 2)
    DRAWS.signs("coin", (4,), 2), DRAWS.permutation("order", 5), DRAWS.uniform("u", (), 1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(DRAWS.normal("noise", (4,), 2), first)


def test_distributions() -> None:
    normal, coins = DRAWS.normal("n", (10_000,), 1), DRAWS.signs("s", (10_000,), 1)
    assert abs(float(normal.mean())) < 0.04 and abs(float(normal.std()) - 1) < 0.04
    assert set(coins.unique().tolist()) == {-1, 1} and abs(float(coins.mean())) < 0.04
    t = torch.cat([DRAWS.integers("t", 10, 100, step) for step in range(10)])
    assert t.bincount(minlength=10).min() > 60 and t.max() == 9
    assert sorted(DRAWS.permutation("p", 6).tolist()) == list(range(6))
    assert DRAWS.uniform("u", (), 3).shape == (3,)
