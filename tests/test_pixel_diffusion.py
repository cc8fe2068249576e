"""The pixel diffusion model: its schedule, its steps beside numpy, the released checkpoints."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from guided_reference import ReferenceUNet
from torch import Tensor

from diffshortcut.models import guided_diffusion, pixel_diffusion
from diffshortcut.models.pixel_diffusion import PixelDiffusion
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="test", person="nobody")
X = DRAWS.normal("x", (3, 16, 16), 2).clamp(-1, 1)
NOISE = DRAWS.normal("noise", (3, 16, 16), 2)


@pytest.fixture(scope="module")
def model(tiny_pixel_folder: Path) -> PixelDiffusion:
    return pixel_diffusion.load(weights=f"file:{tiny_pixel_folder}")


@pytest.mark.parametrize(
    ("t", "kept"), [(10, 0.99781), (100, 0.8951), (150, 0.7859), (400, 0.1936)]
)
def test_the_schedule_is_guided_diffusions(model: PixelDiffusion, t: int, kept: float) -> None:
    assert math.isclose(float(model.alpha_bar[t]), kept, abs_tol=1e-4)


@pytest.mark.parametrize(("index", "timestep"), [(9, 36), (10, 40), (23, 92), (100, 401)])
def test_respaced_to_250_an_index_means_four_times_as_much(
    model: PixelDiffusion, index: int, timestep: int
) -> None:
    few = model.respaced(250)
    assert len(few.alpha_bar) == 250 and few.timesteps[-1] == 999
    assert few.timesteps[index] == timestep
    assert few.alpha_bar[index] == model.alpha_bar[timestep]


def test_respacing_to_all_changes_nothing_and_to_more_is_refused(model: PixelDiffusion) -> None:
    assert torch.equal(model.respaced(1000).alpha_bar, model.alpha_bar)
    with pytest.raises(ValueError, match="cannot be respaced"):
        model.respaced(1001)


def numpy_step(
    model: PixelDiffusion, x_t: Tensor, t: int, noise: Tensor, respacing: int | None
) -> np.ndarray:
    """One ancestral step from the formulas of iDDPM, in double precision."""
    betas = np.linspace(1e-4, 0.02, 1000)
    kept = np.cumprod(1 - betas)
    heard = t
    if respacing:
        stride = 999 / (respacing - 1)
        used = [round(i * stride) for i in range(respacing)]
        kept, heard = kept[used], used[t]
        betas = 1 - kept / np.concatenate([[1.0], kept[:-1]])
    output = model.unet(x_t, torch.full((len(x_t),), heard)).sample.double().numpy()
    eps, v = output[:, :3], output[:, 3:]
    x = x_t.double().numpy()
    clean = np.clip((x - np.sqrt(1 - kept[t]) * eps) / np.sqrt(kept[t]), -1, 1)
    before = kept[t - 1] if t else 1.0
    mean = (
        np.sqrt(before) * betas[t] / (1 - kept[t]) * clean
        + np.sqrt(1 - betas[t]) * (1 - before) / (1 - kept[t]) * x
    )
    if t == 0:
        return mean
    smallest = betas[t] * (1 - before) / (1 - kept[t])
    log = (v + 1) / 2 * np.log(betas[t]) + (1 - v) / 2 * np.log(smallest)
    return mean + np.exp(log / 2) * noise.double().numpy()


@pytest.mark.parametrize("respacing", [None, 250])
@pytest.mark.parametrize("t", [0, 1, 10, 249])
def test_p_sample_is_the_formulas(model: PixelDiffusion, t: int, respacing: int | None) -> None:
    schedule = model.respaced(respacing) if respacing else model
    ours = schedule.p_sample(X, t, NOISE).double()
    expected = torch.from_numpy(numpy_step(model, X, t, NOISE, respacing))
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)


def test_the_last_step_is_without_noise(model: PixelDiffusion) -> None:
    assert torch.equal(model.p_sample(X, 0, NOISE), model.p_sample(X, 0, NOISE * 2))
    assert not torch.equal(model.p_sample(X, 1, NOISE), model.p_sample(X, 1, NOISE * 2))


def test_q_sample_takes_a_timestep_for_each_image(model: PixelDiffusion) -> None:
    both = model.q_sample(X, torch.tensor([3, 500]), NOISE)
    for i, t in enumerate((3, 500)):
        assert torch.equal(both[i : i + 1], model.q_sample(X[i : i + 1], t, NOISE[i : i + 1]))
    spread = (model.q_sample(torch.zeros(1, 3, 64, 64), 10, torch.ones(1, 3, 64, 64))).mean()
    assert math.isclose(float(spread), 0.0468, abs_tol=1e-4)


def test_range_and_resolution(model: PixelDiffusion) -> None:
    assert model.resolution == 16
    assert torch.equal(model.to_model(torch.tensor([0.0, 1.0])), torch.tensor([-1.0, 1.0]))
    assert torch.equal(model.to_images(torch.tensor([-1.1, 1.0])), torch.tensor([0.0, 1.0]))


def test_the_released_architecture_has_its_weights() -> None:
    with torch.device("meta"):
        unet = guided_diffusion.build()
    assert sum(p.numel() for p in unet.parameters()) == 552_814_086
    assert sum(p.numel() for p in ReferenceUNet.released().parameters()) == 552_814_086


def test_a_released_checkpoint_computes_what_its_own_code_does(tmp_path: Path) -> None:
    """Written as the release names its weights, read as diffusers does: equal outputs."""
    torch.manual_seed(0)
    reference = ReferenceUNet(
        channels=32, multipliers=(1, 2, 2), blocks=2, attention=(2, 4), head=16
    )
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    unet = guided_diffusion.build(
        attentive=1, sample_size=16, block_out_channels=(32, 64, 64), attention_head_dim=16
    )
    unet.load_state_dict(guided_diffusion.converted(reference.state_dict(), unet))
    t = torch.tensor([3, 700])
    torch.testing.assert_close(unet(X, t).sample, reference(X, t), atol=1e-4, rtol=1e-4)


def test_a_file_is_read_without_unpickling_objects(tmp_path: Path) -> None:
    file = tmp_path / "evil.pt"
    torch.save({"weights": PixelDiffusion}, file)
    with pytest.raises(Exception, match=r"(?i)weights_only|unsupported"):
        guided_diffusion.load(weights=f"file:{file}")
