"""Transforms and the expectation over them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from diffshortcut.attacks.eot import EoT
from diffshortcut.attacks.pgd import gradient_of
from diffshortcut.config import config
from diffshortcut.errors import UserError
from diffshortcut.pictures.filters import gaussian_blur
from diffshortcut.pictures.transforms import (
    Blur,
    Crop,
    Flip,
    Jpeg,
    Noise,
    Resize,
    Rotate,
    Transform,
)
from diffshortcut.purifiers import jpeg
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="test", person="nobody")
TRANSFORMS: dict[str, Transform] = {
    "blur": Blur(kernel=7, sigma_min=0.1, sigma_max=2.0),
    "blur of several widths": Blur(kernel=[3, 5, 7], sigma_min=0.1, sigma_max=2.0),
    "flip": Flip(probability=0.5),
    "jpeg": Jpeg(quality_min=50, quality_max=95),
    "resize": Resize(factor_min=0.5),
    "crop": Crop(side_min=0.8),
    "rotate": Rotate(degrees=5),
    "noise": Noise(deviation_max=0.05),
}


def pictures(count: int = 6, size: int = 32) -> Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


@pytest.mark.parametrize("name", TRANSFORMS)
def test_drawn_per_image_and_step_whatever_the_batch(name: str) -> None:
    x, transform = pictures(), TRANSFORMS[name]
    whole = transform(x, DRAWS, range(6), 3)
    assert whole.shape == x.shape and whole.min() >= 0 and whole.max() <= 1
    parts = [transform(x[i : i + 2], DRAWS, range(i, i + 2), 3) for i in (0, 2, 4)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=0, atol=1e-5)
    assert not torch.equal(whole, transform(x, DRAWS, range(6), 4))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_gradient_passes(name: str) -> None:
    x = pictures().requires_grad_()
    (gradient,) = torch.autograd.grad(TRANSFORMS[name](x, DRAWS, range(6), 0).sum(), x)
    assert gradient.isfinite().all() and (gradient != 0).float().mean() > 0.5


def test_nothing_changes_at_the_weak_end() -> None:
    x = pictures()
    for transform in (
        Flip(probability=0.0),
        Resize(factor_min=1.0),
        Crop(side_min=1.0),
        Rotate(degrees=0),
        Noise(deviation_max=0),
    ):
        torch.testing.assert_close(transform(x, DRAWS, range(6), 0), x, atol=1e-5, rtol=0)


def test_of_several_kernels_each_image_gets_one() -> None:
    point = torch.zeros(12, 1, 512, 512)
    point[..., 256, 256] = 1
    blurred = Blur(kernel=[3, 5, 7], sigma_min=2.0, sigma_max=2.0)(point, DRAWS, range(12), 0)
    widths = (blurred[:, 0, 256] > 0).sum(-1).tolist()
    assert set(widths) == {3, 5, 7}


def test_flips_are_fair_and_exact() -> None:
    x = torch.arange(4.0).expand(400, 3, 4, 4)
    flipped = Flip(probability=0.5)(x, DRAWS, range(400), 0)
    mirrored = (flipped == x.flip(-1)).flatten(1).all(1)
    assert ((flipped == x).flatten(1).all(1) ^ mirrored).all()
    assert 160 < mirrored.sum() < 240


def test_a_crop_is_inside_the_picture_and_enlarges_it() -> None:
    ramp = torch.linspace(0, 1, 64).expand(50, 3, 64, 64)
    cropped = Crop(side_min=0.8)(ramp, DRAWS, range(50), 0)
    slope = cropped[:, 0, 32, -1] - cropped[:, 0, 32, 0]
    assert (slope > 0.78).all() and (slope <= 1.0).all() and slope.std() > 0.03
    assert cropped[:, 0, 32, 0].std() > 0.02  # its place varies


def test_a_rotation_turns_by_at_most_its_angle() -> None:
    ramp = torch.linspace(0, 1, 65).expand(50, 3, 65, 65)
    turned = Rotate(degrees=5)(ramp, DRAWS, range(50), 0)
    inner = turned[:, 0, 16:49, 16:49]
    tilt = (inner[:, -1] - inner[:, 0]).mean(1) / (inner[:, :, -1] - inner[:, :, 0]).mean(1)
    angles = torch.rad2deg(torch.atan(tilt))
    assert angles.abs().max() <= 5.01 and angles.abs().max() > 4 and angles.std() > 2


def test_the_differentiable_jpeg_is_close_to_the_real_one() -> None:
    x = pictures(size=64)
    soft = Jpeg(quality_min=75, quality_max=75)(x, DRAWS, range(6), 0)
    real = jpeg.Jpeg(quality=75)(x, DRAWS)
    assert (soft - real).abs().mean() < 0.6 * (real - x).abs().mean()
    rough = Jpeg(quality_min=20, quality_max=20)(x, DRAWS, range(6), 0)
    assert (rough - x).abs().mean() > 1.5 * (soft - x).abs().mean()


def test_the_expectation_is_the_mean_of_its_samples() -> None:
    x, seen = pictures(3), []

    def loss(y: Tensor, images: range, step: int) -> Tensor:
        seen.append(step)
        return y.square().flatten(1).sum(1) * (1 + step)

    blur = [Blur(kernel=7, sigma_min=1.0, sigma_max=2.0)]
    single = EoT(transforms=blur).over(gradient_of(loss), DRAWS)
    double = EoT(transforms=blur, samples=2).over(gradient_of(loss), DRAWS)
    values, direction = double(x, range(3), 5)
    parts = [single(x, range(3), step) for step in (10, 11)]
    torch.testing.assert_close(values, (parts[0][0] + parts[1][0]) / 2)
    torch.testing.assert_close(direction, (parts[0][1] + parts[1][1]) / 2)
    assert seen == [10, 11, 10, 11]


def test_the_gradient_is_that_at_the_original() -> None:
    x = pictures(2)
    gradient = EoT(transforms=[Blur(kernel=7, sigma_min=1.5, sigma_max=1.5)]).over(
        gradient_of(lambda y, images, step: y.square().flatten(1).sum(1)), DRAWS
    )
    _, direction = gradient(x, range(2), 0)
    leaf = x.clone().requires_grad_()
    blurred = gaussian_blur(leaf, kernel=7, sigma=1.5).square().sum()
    torch.testing.assert_close(direction, torch.autograd.grad(blurred, leaf)[0])


def test_without_transforms_it_is_the_gradient_itself() -> None:
    x, plain = pictures(2), gradient_of(lambda y, images, step: y.flatten(1).sum(1))
    assert torch.equal(EoT().over(plain, DRAWS)(x, range(2), 0)[1], torch.ones_like(x))


def test_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="samples"):
        EoT(samples=0)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("Blur", {"kernel": 7, "sigma_min": 0, "sigma_max": 0}, "sigma_min must be above 0"),
        ("Blur", {"kernel": 7, "sigma_min": 2, "sigma_max": 1}, "sigma_max not below it"),
        ("Blur", {"kernel": 0, "sigma_min": 1, "sigma_max": 1}, "kernel must be at least 3"),
        ("Blur", {"kernel": 1, "sigma_min": 1, "sigma_max": 1}, "kernel must be at least 3"),
        ("Blur", {"kernel": [], "sigma_min": 1, "sigma_max": 1}, "kernel must be at least 3"),
        ("Blur", {"kernel": [3, -1], "sigma_min": 1, "sigma_max": 1}, "kernel must be at least 3"),
        ("Flip", {"probability": 7}, "probability must be in"),
        ("Flip", {"probability": -0.5}, "probability must be in"),
        ("Jpeg", {"quality_min": -10, "quality_max": 90}, "quality_min must be at least 1"),
        ("Jpeg", {"quality_min": 90, "quality_max": 50}, "quality_max not below it"),
        ("Jpeg", {"quality_min": 90, "quality_max": 101}, "at most 100"),
        ("Resize", {"factor_min": -1}, "factor_min must be above 0 and at most 1"),
        ("Resize", {"factor_min": 2}, "factor_min must be above 0 and at most 1"),
        ("Crop", {"side_min": -1}, "side_min must be above 0 and at most 1"),
        ("Crop", {"side_min": 1.5}, "side_min must be above 0 and at most 1"),
        ("Rotate", {"degrees": -5}, "degrees cannot be negative"),
        ("Noise", {"deviation_max": -1}, "deviation_max cannot be negative"),
    ],
)
def test_values_that_no_transform_can_have_are_the_users_error(
    kind: str, values: dict[str, Any], message: str
) -> None:
    node = {"_target_": f"diffshortcut.pictures.transforms.{kind}", **values}
    eot = {"_target_": "diffshortcut.attacks.eot.EoT", "transforms": [node]}
    for judge in (config.build, config.check_values):  # the latter before anything is computed
        with pytest.raises(UserError, match=message):
            judge(eot, "attack.eot")
