"""The purifiers on the pixel model: windows, the published slips, DDS's t*."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_zoo
import torch
from torch import Tensor

from diffshortcut.errors import UserError
from diffshortcut.models import pixel_diffusion
from diffshortcut.models.pixel_diffusion import PixelDiffusion
from diffshortcut.pictures.images import grown
from diffshortcut.purifiers.ddspure import DDSPure
from diffshortcut.purifiers.diffpure import DiffPure, PixelDiffPure, normal
from diffshortcut.purifiers.gridpure import GridPure
from diffshortcut.purifiers.storage import STORAGES, stored
from diffshortcut.purifiers.windows import Windows
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="purify", person="nobody")
IMAGES = tiny_zoo.pictures(2, seed=1)


@pytest.fixture(scope="module")
def model(tiny_pixel_folder: Path) -> PixelDiffusion:
    return pixel_diffusion.load(weights=f"file:{tiny_pixel_folder}")


class NoOp:
    """DiffPure that returns what it is given."""

    resolution = 16

    def __call__(self, images: Tensor, t: int, noise: object, **options: bool) -> Tensor:
        return images


def grid(diffpure: object, **changes: object) -> GridPure:
    options = {"t": 10, "gamma": 0.1, "iterations": 2, "stride": 128}
    return GridPure(diffpure=diffpure, **{**options, "corner_window": True, **changes})


@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("iterations", [1, 7])
@pytest.mark.parametrize("corner_window", [True, False])
@pytest.mark.parametrize("size", [(32, 32), (37, 53), (16, 40), (7, 19)])
def test_around_a_no_op_gridpure_returns_its_input(
    gamma: float, iterations: int, corner_window: bool, size: tuple[int, int]
) -> None:
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    purifier = grid(NoOp(), gamma=gamma, iterations=iterations, corner_window=corner_window)
    torch.testing.assert_close(purifier(images, DRAWS), images, atol=1e-6, rtol=0)


def one_window(diffpure: DiffPure, storage: str) -> GridPure:
    return grid(diffpure, iterations=1, gamma=0, corner_window=False, storage=storage)


def dds(diffpure: DiffPure, storage: str) -> DDSPure:
    return DDSPure(diffpure=diffpure, radius=1, one_shot=False, storage=storage)


def test_windows_are_the_papers() -> None:
    """512 pixels, windows of 256 every 128: nine, and the corners' one."""
    images = torch.arange(512 * 512.0).view(1, 1, 512, 512)
    cut = Windows(256, 128, corners=True).cut(images)
    assert cut.shape == (1, 10, 1, 256, 256)
    assert torch.equal(cut[0, 1, 0], images[0, 0, :256, 128:384])
    assert torch.equal(cut[0, 9, 0, :128, 128:], images[0, 0, :128, 384:])
    assert torch.equal(cut[0, 9, 0, 128:, :128], images[0, 0, 384:, :128])


def test_every_window_counts_the_same() -> None:
    """Ones in one window, zeros in the others: each pixel is one over how many windows see it."""
    windows = Windows(4, 2, corners=True)
    cut = torch.zeros_like(windows.cut(torch.zeros(1, 3, 8, 8)))
    cut[:, 0] = 1
    merged = windows.merge(cut, torch.Size((1, 3, 8, 8)))
    assert merged[0, 0, 0, 0] == 0.5  # with the corners' window
    assert merged[0, 0, 2, 2] == 0.25 and merged[0, 0, 1, 2] == 0.5
    assert merged[0, 0, 4:].abs().max() == 0


def test_grown_repeats_the_border() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert grown(x) is x
    assert grown(x, least=3, multiple=2)[0, 0].tolist()[3] == [3, 4, 5, 5]


def test_the_micro_batch_changes_no_draw(model: PixelDiffusion) -> None:
    """Three divides neither the windows nor the images."""
    whole = grid(DiffPure(model=model))(IMAGES, DRAWS)
    parts = grid(DiffPure(model=model, micro_batch=3))(IMAGES, DRAWS)
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)


def test_diffpure_walks_from_t_minus_1_to_0(
    model: PixelDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert walked(DiffPure(model=model), 4, monkeypatch) == [3, 3, 2, 1, 0]


def test_the_released_loop_begins_one_later_and_stops_one_earlier(
    model: PixelDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    legacy = DiffPure(model=model, skip_last=True, respacing=250, unit_range=True)
    assert walked(legacy, 4, monkeypatch) == [4, 4, 3, 2, 1]


def walked(diffpure: DiffPure, t: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The timestep of q_sample, then those of p_sample."""
    seen: list[int] = []

    def note(_: PixelDiffusion, x: Tensor, t: int, noise: Tensor) -> Tensor:
        seen.append(t)
        return x

    monkeypatch.setattr(PixelDiffusion, "q_sample", note)
    monkeypatch.setattr(PixelDiffusion, "p_sample", note)
    images = IMAGES[..., :16, :16]
    torch.testing.assert_close(diffpure(images, t, normal(DRAWS, images)), images)
    return seen


@pytest.mark.parametrize(("t", "skip_last"), [(0, False), (1001, False), (1000, True)])
def test_a_t_that_is_not_on_the_schedule_is_refused(
    model: PixelDiffusion, t: int, skip_last: bool
) -> None:
    with pytest.raises(UserError, match="t must be between"):
        DiffPure(model=model, skip_last=skip_last)(IMAGES, t, normal(DRAWS, IMAGES))


def test_more_timesteps_than_the_schedule_has_are_refused(model: PixelDiffusion) -> None:
    assert DiffPure(model=model, respacing=1000).most == 1000
    with pytest.raises(ValueError, match="respacing must be at most 1000, not 1001"):
        DiffPure(model=model, respacing=1001)


def test_a_radius_that_asks_for_more_than_the_schedule_has_is_refused(
    model: PixelDiffusion,
) -> None:
    DDSPure(diffpure=DiffPure(model=model, respacing=24), radius=11, one_shot=False)
    with pytest.raises(ValueError, match="radius=11 asks for 24 steps, and with respacing=20"):
        DDSPure(diffpure=DiffPure(model=model, respacing=20), radius=11, one_shot=False)


def test_in_the_wrong_range_a_picture_is_half_as_large(
    model: PixelDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slip's effect: the same noise is twice as strong beside the picture."""
    added: list[Tensor] = []
    monkeypatch.setattr(PixelDiffusion, "p_sample", lambda _, x, t, noise: added.append(x) or x)
    small = IMAGES[..., :16, :16]
    for unit_range in (False, True):
        DiffPure(model=model, unit_range=unit_range)(small, 1, normal(DRAWS, small))
    right, wrong = added
    kept = model.alpha_bar[0].float()
    noise = normal(DRAWS, small)("diffuse", 0) * (1 - kept).sqrt()
    torch.testing.assert_close(right, kept.sqrt() * (2 * small - 1) + noise)
    torch.testing.assert_close(wrong, kept.sqrt() * small + noise)


def test_8_bit_that_wraps_and_8_bit_that_does_not() -> None:
    x = torch.tensor([-0.01, 0.5, 1.02])
    assert (stored(x, "wrapped") * 255).round().tolist() == [254, 127, 4]
    assert (stored(x, "uint8") * 255).round().tolist() == [0, 128, 255]
    assert (stored(x, "truncated") * 255).round().tolist() == [0, 127, 255]
    assert stored(x, "float") is x


def test_whole_levels_are_whole_in_every_storage() -> None:
    levels = torch.arange(256) / 255
    assert all(torch.equal(stored(levels, kind), levels) for kind in STORAGES)


@pytest.mark.parametrize(
    ("radius", "t_star", "undoubled"), [(4, 6, 2), (8, 15, 6), (11, 23, 9), (16, 35, 15)]
)
def test_dds_finds_the_smallest_timestep(
    model: PixelDiffusion, radius: int, t_star: int, undoubled: int
) -> None:
    options = {"diffpure": DiffPure(model=model), "one_shot": False}
    assert DDSPure(radius=radius, **options).t_star == t_star
    assert DDSPure(radius=radius, doubled=False, **options).t_star == undoubled
    assert DDSPure(radius=1e9, **options).t_star == 999


@pytest.mark.parametrize(("radius", "start"), [(0.01, 1), (4, 2), (8, 6), (11, 10), (16, 16)])
def test_the_released_dds_starts_at_the_nearer_timestep(
    model: PixelDiffusion, radius: float, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At one more than the timestep whose alpha_bar is nearest, at 1 or above."""
    assert released_start(radius / 255) == start
    purifier = DDSPure(
        diffpure=DiffPure(model=model, respacing=250, unit_range=True, skip_last=True),
        radius=radius,
        one_shot=False,
        doubled=False,
        nearest=True,
    )
    seen: list[int] = []
    monkeypatch.setattr(PixelDiffusion, "q_sample", lambda _, x, t, noise: seen.append(t) or x)
    monkeypatch.setattr(PixelDiffusion, "p_sample", lambda _, x, t, noise: x)
    purifier(IMAGES, DRAWS)
    assert seen == [start]


def released_start(sigma: float) -> int:
    """The index of whichever of two neighbors of 1 / (1 + sigma^2) is nearer, in numpy."""
    kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    distance = np.abs(kept - 1 / (1 + sigma**2))
    after = int((kept >= 1 / (1 + sigma**2)).sum())
    return after if after and distance[after - 1] < distance[after] else after + 1


def test_one_shot_is_the_first_guess(model: PixelDiffusion) -> None:
    purifier = DDSPure(diffpure=DiffPure(model=model), radius=4, one_shot=True)
    small = IMAGES[..., :16, :16]
    noise = normal(DRAWS, small)("diffuse", 0)
    guess = model.predict(model.q_sample(small * 2 - 1, 6, noise), 6).clean / 2 + 0.5
    torch.testing.assert_close(purifier(small, DRAWS), guess)
    assert not torch.equal(replace(purifier, one_shot=False)(small, DRAWS), guess)


class Overshoot(NoOp):
    """DiffPure that leaves the range on both sides, as with pictures of the wrong range."""

    def __call__(self, images: Tensor, t: int, noise: object, **options: bool) -> Tensor:
        return images * 1.04 - 0.02


@pytest.mark.parametrize("storage", STORAGES)
def test_only_the_slip_wraps_around(storage: str) -> None:
    ends = torch.cat([torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)])
    away = (grid(Overshoot(), iterations=1, storage=storage)(ends, DRAWS) - ends).abs()
    assert (away > 0.9).all() if storage == "wrapped" else (away < 0.1).all()


@pytest.mark.parametrize("float_iterate", [True, False])
def test_the_iterate_stays_float_where_only_what_is_seen_is_stored(float_iterate: bool) -> None:
    """Two iterations around a model that adds 0.3 of a level, of one constant, by hand."""
    level, seen = 100.0, []

    class Brighter(NoOp):
        def __call__(self, images: Tensor, *rest: object, **options: object) -> Tensor:
            seen.append(float(images[0, 0, 0, 0] * 255))
            return images + 0.3 / 255

    x = torch.full((1, 3, 16, 16), (level + 0.9) / 255)
    purifier = grid(Brighter(), gamma=0.5, storage="truncated", float_iterate=float_iterate)
    found = float(purifier(x, DRAWS)[0, 0, 0, 0] * 255)
    # a float iterate: 100.9, then (100.3 + 100.9) / 2 = 100.6, then (100.3 + 100.6) / 2 = 100.45
    assert seen == pytest.approx([100, 100] if float_iterate else [100.9, 101], abs=1e-3)
    assert found == pytest.approx(100 if float_iterate else 101, abs=1e-3)


@pytest.mark.parametrize("make", [one_window, dds])
@pytest.mark.parametrize("skip_last", [False, True])
def test_without_the_last_step_bytes_wrap_in_the_right_range_too(
    model: PixelDiffusion, make: Any, skip_last: bool
) -> None:
    """With it the result is the denoiser's clean image, which is clipped: nothing can wrap."""
    diffpure = DiffPure(model=model, skip_last=skip_last)
    images = (IMAGES[..., :16, :16] > 0.5).float()
    kept, wrapped = (make(diffpure, kind)(images, DRAWS) for kind in ("truncated", "wrapped"))
    if not skip_last:
        assert torch.equal(kept, wrapped)
        return
    ends = (kept == 0) | (kept == 1)
    assert torch.equal(kept[~ends], wrapped[~ends])
    assert (kept != wrapped)[ends].any()


def test_ddspure_stores_its_small_picture(model: PixelDiffusion) -> None:
    options = {"diffpure": DiffPure(model=model, unit_range=True), "radius": 1, "one_shot": True}
    found = {s: DDSPure(**options, storage=s)(IMAGES, DRAWS) for s in ("float", "wrapped")}
    assert not torch.equal(found["float"], found["wrapped"])
    assert all(x.min() >= 0 and x.max() <= 1 for x in found.values())


def test_with_the_wrong_range_the_result_stays_in_the_right_one(model: PixelDiffusion) -> None:
    small = IMAGES[..., :16, :16]
    purified = PixelDiffPure(diffpure=DiffPure(model=model, unit_range=True), t=5)(small, DRAWS)
    assert purified.min() >= 0 and purified.max() <= 1


@pytest.mark.parametrize(("interpolation", "antialias"), [("bicubic", True), ("bilinear", False)])
def test_whole_pictures_are_resized_as_is_said(interpolation: Any, antialias: bool) -> None:
    images = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    purifier = PixelDiffPure(diffpure=NoOp(), t=1, interpolation=interpolation)
    options = {"mode": interpolation, "antialias": antialias}
    small = torch.nn.functional.interpolate(images, (16, 16), **options).clamp(0, 1)
    expected = torch.nn.functional.interpolate(small, (40, 48), **options).clamp(0, 1)
    assert torch.equal(purifier(images, DRAWS), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Windows(5, 2, corners=True),
        lambda: grid(NoOp(), stride=0),
        lambda: grid(NoOp(), stride=257),
        lambda: grid(NoOp(), gamma=1.1),
        lambda: grid(NoOp(), iterations=0),
        lambda: grid(NoOp(), t=0),
        lambda: PixelDiffPure(diffpure=NoOp(), t=0),
        lambda: grid(NoOp(), storage="half"),
        lambda: DDSPure(diffpure=NoOp(), radius=-1, one_shot=False),
    ],
)
def test_impossible_values_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError):
        wrong()


def test_the_seed_of_an_image_is_its_own(model: PixelDiffusion) -> None:
    purifier = PixelDiffPure(diffpure=DiffPure(model=model), t=3)
    both = purifier(IMAGES, DRAWS)
    second = purifier(IMAGES[1:], DRAWS.from_image(1))
    torch.testing.assert_close(both[1:], second, atol=1e-5, rtol=0)


class Elsewhere(torch.nn.Module):
    """A UNet that computes in another place, of which the pictures must not know."""

    device, config = torch.device("meta"), {"sample_size": 16}

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        assert x.device.type == t.device.type == "meta"
        return type("Output", (), {"sample": x.repeat(1, 2, 1, 1)})


def test_pictures_go_to_where_the_model_is(model: PixelDiffusion) -> None:
    """To a device without memory, from which nothing can come back."""
    away = replace(model, unet=Elsewhere())
    small = IMAGES[..., :16, :16]
    with pytest.raises(NotImplementedError, match="meta tensor"):
        DiffPure(model=away, respacing=250)(small, 2, normal(DRAWS, small))
