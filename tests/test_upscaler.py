"""The x4 upscaler's wrapper: shapes and draws."""

from pathlib import Path
from typing import Any

import pytest
import torch

from diffshortcut.errors import UserError
from diffshortcut.models import upscaler
from diffshortcut.precision import Precision
from diffshortcut.purifiers.sr import SuperResolution
from diffshortcut.seeding import Draws

DRAWS = Draws(0, "purify", "nobody")
OPTIONS = {"prompt": "a photo of a person", "steps": 2, "guidance": 9.0, "noise_level": 20}


@pytest.fixture
def net(tiny_upscaler_folder: Path) -> upscaler.Upscaler:
    return upscaler.load(weights=f"file:{tiny_upscaler_folder}")


def test_four_times_the_size_whatever_the_batch(net: upscaler.Upscaler) -> None:
    x = DRAWS.uniform("x", (3, 16, 16), 3)
    torch.manual_seed(1)
    together = net(x, draws=DRAWS, **OPTIONS)
    torch.manual_seed(2)
    apart = net(x, draws=DRAWS, micro_batch=2, **OPTIONS)
    assert together.shape == (3, 3, 64, 64) and together.min() >= 0 and together.max() <= 1
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-3)


def test_the_noise_is_drawn_per_image(net: upscaler.Upscaler) -> None:
    x = DRAWS.uniform("x", (3, 16, 16), 1).repeat(2, 1, 1, 1)
    first, second = net(x, draws=DRAWS, **OPTIONS)
    assert not torch.equal(first, second)


def test_the_pixels_are_fed_in_the_pipelines_range(net: upscaler.Upscaler) -> None:
    """[0, 1] in, [-1, 1] inside: a black image must not be taken for a grey one."""
    seen: list[torch.Tensor] = []
    add_noise = net.pipeline.low_res_scheduler.add_noise
    net.pipeline.low_res_scheduler.add_noise = lambda x, *rest: (
        seen.append(x),
        add_noise(x, *rest),
    )[1]
    net(torch.zeros(1, 3, 16, 16), draws=DRAWS, **OPTIONS)
    net.pipeline.low_res_scheduler.add_noise = add_noise
    assert float(seen[0].min()) == -1 == float(seen[0].max())


def test_the_autoencoder_keeps_its_own_scaling_factor(net: upscaler.Upscaler) -> None:
    assert net.pipeline.vae.config.scaling_factor == 0.5


def test_released_defaults() -> None:
    defaults = upscaler.Upscaler.__call__.__wrapped__.__kwdefaults__
    assert (defaults["steps"], defaults["guidance"], defaults["noise_level"]) == (75, 9.0, 20)


def counted(net: upscaler.Upscaler, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many latents each call of the denoiser takes."""
    seen: list[int] = []
    unet = net.pipeline.unet.forward

    def forward(x: torch.Tensor, *rest: Any, **options: Any) -> Any:
        seen.append(len(x))
        return unet(x, *rest, **options)

    monkeypatch.setattr(net.pipeline.unet, "forward", forward)
    return seen


@pytest.mark.parametrize(("prompt", "branches"), [("", 1), ("a photo of a person", 2)])
def test_guidance_costs_nothing_where_both_prompts_are_equal(
    prompt: str, branches: int, net: upscaler.Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = DRAWS.uniform("x", (3, 16, 16), 2)
    options = {**OPTIONS, "prompt": prompt, "draws": DRAWS}
    seen = counted(net, monkeypatch)
    found = net(x, **options)
    net.unrolled(x, **options)
    net.trajectory_loss(x, DRAWS.uniform("high", (3, 64, 64), 2), **options)
    assert seen == [2 * branches] * 5
    both = net.pipeline(  # diffusers' own way: two branches
        prompt=[prompt] * 2,
        image=x,
        num_inference_steps=2,
        guidance_scale=9.0,
        noise_level=20,
        generator=[DRAWS.generator("upscale", image=i) for i in range(2)],
        output_type="latent",
    ).images
    torch.testing.assert_close(found, net._decode(both.float()), atol=1e-4, rtol=0)


@pytest.mark.parametrize("prompt", ["", "a photo of a person"])
def test_the_own_loop_agrees_with_two_branches(prompt: str, net: upscaler.Upscaler) -> None:
    low, z = DRAWS.uniform("x", (3, 16, 16), 2), DRAWS.normal("z", (4, 16, 16), 2)
    t = torch.tensor([500, 20])
    condition = net._condition(low, prompt, DRAWS, 20)
    branches = [
        net.pipeline.unet(
            torch.cat([z, condition.low], dim=1),
            t,
            encoder_hidden_states=context.expand(2, -1, -1),
            class_labels=condition.level,
        ).sample
        for context in condition.contexts
    ]
    expected = branches[1] + 9.0 * (branches[0] - branches[1])
    found = net._guided(z, t, condition, 9.0)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_more_noise_than_the_model_knows_is_refused(net: upscaler.Upscaler) -> None:
    low, most = DRAWS.uniform("x", (3, 16, 16), 1), net.pipeline.config["max_noise_level"]
    options = {**OPTIONS, "noise_level": most + 1, "draws": DRAWS}
    for call in (net, net.unrolled):
        with pytest.raises(UserError, match=f"noise_level must be at most {most}, not {most + 1}"):
            call(low, **options)


def test_no_column_is_dropped_whatever_the_size(net: upscaler.Upscaler) -> None:
    """The pipeline itself shrinks small pictures to multiples of four."""
    sr = SuperResolution(upscaler=net, prompt="a face", steps=2, guidance=1.0, noise_level=0)
    assert sr.enlarged(DRAWS.uniform("odd", (3, 18, 9), 1), DRAWS).shape == (1, 3, 72, 36)


def test_it_decodes_in_float32_whatever_else_is_narrow(
    tiny_upscaler_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = upscaler.load(
        weights=f"file:{tiny_upscaler_folder}", precision=Precision(autocast="bfloat16")
    )
    seen: dict[str, torch.dtype] = {}
    for name, layer in (
        ("unet", narrow.pipeline.unet.conv_in),
        ("vae", narrow.pipeline.vae.decoder.conv_in),
    ):
        monkeypatch.setattr(layer, "forward", _told(layer.forward, name, seen))
    narrow(DRAWS.uniform("x", (3, 16, 16), 1), draws=DRAWS, **OPTIONS)
    assert seen == {"unet": torch.bfloat16, "vae": torch.float32}


def _told(forward: Any, name: str, seen: dict[str, torch.dtype]) -> Any:
    def told(x: torch.Tensor) -> torch.Tensor:
        found = forward(x)
        seen[name] = found.dtype
        return found

    return told
