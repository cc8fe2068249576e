"""How E-ASPL combines its models: one after the other, the mean of results, the mean of slopes."""

from dataclasses import replace

import pytest
import tiny_zoo
import torch
from torch import Tensor

from diffshortcut.attacks.easpl import EnsembleASPL
from diffshortcut.attacks.scene import Scene
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="protect", person="nobody")
MODES = ["sequential", "average", "gradient_mean"]


@pytest.fixture
def scene() -> Scene:
    return tiny_zoo.scene(2)


def attack(model: LatentDiffusion, models: str, combine: str, **changes: int) -> EnsembleASPL:
    schedule = {"rounds": 1, "clean_steps": 1, "pgd_steps": 4, "adversarial_steps": 1} | changes
    return EnsembleASPL(
        surrogates=dict.fromkeys(models, model),
        combine=combine,
        instance_prompt="a photo of sks person",
        class_prompt="a photo of person",
        radius=11,
        step=3,
        learning_rate=1e-3,
        **schedule,
    )


@pytest.mark.parametrize("combine", MODES[1:])
def test_of_one_model_all_ways_are_one(model: LatentDiffusion, scene: Scene, combine: str) -> None:
    expected = attack(model, "a", "sequential", rounds=2)(scene, DRAWS)
    found = attack(model, "a", combine, rounds=2)(scene, DRAWS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_average_is_that_of_each_models_result(model: LatentDiffusion, scene: Scene) -> None:
    a, b = (attack(model, name, "sequential")(scene, DRAWS) for name in "ab")
    assert not torch.equal(a, b)  # they draw apart
    found = attack(model, "ab", "average")(scene, DRAWS)
    torch.testing.assert_close(found, (a + b) / 2, rtol=0, atol=1e-6)


def test_in_sequence_a_model_goes_on_where_the_one_before_ended(
    model: LatentDiffusion, scene: Scene
) -> None:
    """Two ascents go further than the mean of two."""
    both = attack(model, "ab", "sequential")(scene, DRAWS)
    mean = attack(model, "ab", "average")(scene, DRAWS)
    assert (both - scene.images).abs().mean() > 1.1 * (mean - scene.images).abs().mean()


def test_the_mean_slope_is_that_of_each_models_slope(model: LatentDiffusion, scene: Scene) -> None:
    def first_slope(models: str, combine: str) -> Tensor:
        slopes: list[Tensor] = []
        watched = replace(scene, record=lambda values, direction: slopes.append(direction))
        attack(model, models, combine, pgd_steps=1)(watched, DRAWS)
        return slopes[0]

    a, b = (first_slope(name, "sequential") for name in "ab")
    torch.testing.assert_close(first_slope("ab", "gradient_mean"), (a + b) / 2)


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_text_encoder_may_be_left_as_it_is(
    model: LatentDiffusion, scene: Scene, dtype: torch.dtype, trained: bool
) -> None:
    kind = {"weights_dtype": str(dtype).removeprefix("torch."), "train_text_encoder": trained}
    method = replace(attack(model, "a", "average"), learning_rate=0.1, **kind)
    before = [p.clone() for p in model.trainable_parameters()]
    pair = method.pair(model, scene.class_prior(), scene, DRAWS)
    method.learn_perturbed(pair, scene.images, scene)
    method.learn_clean(pair)
    for training in (pair.surrogate, pair.clone):
        assert not equal(training.model.unet, model.unet, dtype)
        assert equal(training.model.text_encoder, model.text_encoder, dtype) != trained
    assert all(map(torch.equal, before, model.trainable_parameters()))


def equal(net: torch.nn.Module, base: torch.nn.Module, dtype: torch.dtype) -> bool:
    """Whether `net` holds the weights of `base`, rounded."""
    return all(map(torch.equal, net.parameters(), (p.to(dtype) for p in base.parameters())))


@pytest.mark.parametrize("combine", MODES)
def test_no_way_leaves_the_ball(model: LatentDiffusion, scene: Scene, combine: str) -> None:
    protected = attack(model, "ab", combine, rounds=2)(scene, DRAWS)
    assert 2 < ((protected - scene.images) * 255).abs().max() <= 11 + 1e-3
