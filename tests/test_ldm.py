"""The latent diffusion bundle against diffusers' own pipeline and schedulers."""

import copy
import shutil
from pathlib import Path

import pytest
import torch

from diffshortcut.models import ldm
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws

DRAWS = Draws(0, "test", "nobody")
T = torch.tensor([0, 10, 500, 999])


def z_and_noise(model: LatentDiffusion) -> tuple[torch.Tensor, torch.Tensor]:
    shape = model.latent_shape
    return DRAWS.normal("z", shape, len(T)), DRAWS.normal("noise", shape, len(T))


def test_load_is_cached_and_read_only(model: LatentDiffusion, tiny_ldm_folder: Path) -> None:
    assert ldm.load(weights=f"file:{tiny_ldm_folder}") is model
    assert not any(p.requires_grad for p in model.trainable_parameters())
    assert model.latent_shape == (4, 4, 4)


def test_an_autoencoder_can_be_shared(
    model: LatentDiffusion, tiny_ldm_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_ldm_folder, tmp_path / "no_vae", ignore=lambda *_: ["vae"])
    shared = ldm.load(weights=f"file:{folder}", autoencoder=f"file:{tiny_ldm_folder}")
    pairs = zip(shared.vae.parameters(), model.vae.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    with pytest.raises(OSError, match="no_vae"):
        ldm.load(weights=f"file:{folder}")


@pytest.mark.parametrize("folder", ["tiny_ldm_folder", "tiny_v_ldm_folder"])
def test_noise_and_target_are_those_of_diffusers(
    folder: str, request: pytest.FixtureRequest
) -> None:
    model = ldm.load(weights=f"file:{request.getfixturevalue(folder)}")
    z, noise = z_and_noise(model)
    velocity = model.scheduler.get_velocity(z, noise, T)
    expected = velocity if folder == "tiny_v_ldm_folder" else noise
    torch.testing.assert_close(model.add_noise(z, noise, T), model.scheduler.add_noise(z, noise, T))
    torch.testing.assert_close(model.target(z, noise, T), expected)


def test_alpha_bar_is_stable_diffusions(model: LatentDiffusion) -> None:
    """Published values of the schedule."""
    values = model.scheduler.alphas_cumprod[[10, 40, 100, 300]]
    torch.testing.assert_close(
        values, torch.tensor([0.9904, 0.9619, 0.8942, 0.5905]), atol=1e-4, rtol=0
    )


def test_loss_is_per_image_and_independent_of_the_batch(model: LatentDiffusion) -> None:
    z, noise = z_and_noise(model)
    context = model.encode_prompt(["a photo of sks person"])
    together = model.denoising_loss(z, context, T, noise)
    parts = zip(z.split(1), T.split(1), noise.split(1), strict=True)
    alone = [model.denoising_loss(z1, context, t1, noise1) for z1, t1, noise1 in parts]
    assert together.shape == (4,)
    torch.testing.assert_close(together, torch.cat(alone))


def test_prompts_are_encoded_as_the_pipeline_does(
    model: LatentDiffusion, tiny_ldm_folder: Path
) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_ldm_folder, safety_checker=None)
    prompt = "a photo of sks person"
    expected, _ = pipeline.encode_prompt(prompt, "cpu", 1, do_classifier_free_guidance=False)
    torch.testing.assert_close(model.encode_prompt([prompt]), expected)


def test_the_gradient_to_the_pixels_is_the_finite_difference(model: LatentDiffusion) -> None:
    """Through mean and deviation of the posterior, at fixed draws."""
    double = LatentDiffusion(
        vae=copy.deepcopy(model.vae).double(),
        unet=copy.deepcopy(model.unet).double(),
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        scheduler=model.scheduler,
    )
    x = DRAWS.uniform("x", (3, 32, 32), 1).double().requires_grad_()
    xi, noise = (DRAWS.normal(name, model.latent_shape, 1).double() for name in ("xi", "noise"))
    context = model.encode_prompt(["a photo"]).double()

    def loss(images: torch.Tensor) -> torch.Tensor:
        z = double.reparameterize(*double.posterior(images), xi)
        return double.denoising_loss(z, context, torch.tensor([300]), noise).sum()

    (gradient,) = torch.autograd.grad(loss(x), x)
    direction = DRAWS.normal("direction", (3, 32, 32), 1).double()
    with torch.no_grad():
        step = 1e-5 * direction
        difference = (loss(x + step) - loss(x - step)) / 2e-5
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-5, atol=1e-10)


def test_the_posterior_deviation_carries_gradient(model: LatentDiffusion) -> None:
    x = DRAWS.uniform("x", (3, 32, 32), 1).requires_grad_()
    mean, std = model.posterior(x)
    assert torch.autograd.grad(std.sum(), x, retain_graph=True)[0].abs().max() > 0
    assert torch.autograd.grad(mean.sum(), x)[0].abs().max() > 0


def test_encode_scales_and_decode_unscales(model: LatentDiffusion) -> None:
    x = DRAWS.uniform("x", (3, 32, 32), 2)
    mean, _ = model.posterior(x)
    z = model.encode(x)
    torch.testing.assert_close(z, mean * 0.5)
    images = model.decode(z)
    assert images.shape == x.shape and images.min() >= 0 and images.max() <= 1


def test_a_copy_trains_without_touching_the_original(model: LatentDiffusion) -> None:
    twin = model.copy()
    with torch.no_grad():
        for parameter in twin.trainable_parameters():
            parameter.add_(1)
    pairs = zip(model.trainable_parameters(), twin.trainable_parameters(), strict=True)
    assert all((b - a).abs().min() > 0.9 for a, b in pairs)
    assert twin.vae is model.vae and all(p.requires_grad for p in twin.trainable_parameters())


def test_trained_weights_come_back(model: LatentDiffusion, tmp_path: Path) -> None:
    twin = model.copy()
    with torch.no_grad():
        for parameter in twin.trainable_parameters():
            parameter.mul_(1.5)
    twin.save(tmp_path)
    back = model.with_weights(tmp_path)
    pairs = zip(twin.trainable_parameters(), back.trainable_parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert str(tmp_path.parent) not in (tmp_path / "unet" / "config.json").read_text()


def test_saved_configs_do_not_name_where_the_weights_came_from(
    model: LatentDiffusion, tiny_ldm_folder: Path, tmp_path: Path
) -> None:
    model.save(tmp_path)
    texts = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert texts and not any(str(tiny_ldm_folder) in text for text in texts)
