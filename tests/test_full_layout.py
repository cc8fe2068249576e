"""Loaders of the full zoo's diffusion models on files in their released layouts."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import official_layout as official
import pytest
import torch
from guided_reference import ReferenceUNet
from safetensors import safe_open

from diffshortcut import weights
from diffshortcut.config import config
from diffshortcut.errors import UserError
from diffshortcut.models import guided_diffusion, ldm, released, upscaler
from diffshortcut.seeding import Draws
from diffshortcut.units import size
from diffshortcut.weights import registry

LDMS = ("sd14", "sd15", "sd20base", "sd21base", "sd21")
DRAWS = Draws(0, "test", "nobody")
PIXEL = "guided_diffusion_256_uncond"
EOS = 513  # of the small vocabulary


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("released")
    found = {name: official.write_ldm(home / name, name) for name in LDMS}
    return {**found, "sd_x4_upscaler": official.write_upscaler(home / "sd_x4_upscaler")}


@pytest.fixture
def small_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    small = partial(guided_diffusion.build, **official.pixel_options())
    monkeypatch.setattr(guided_diffusion, "build", small)


@pytest.mark.parametrize("name", (*LDMS, "sd_x4_upscaler"))
def test_the_files_are_those_that_the_registry_fetches(folders: dict[str, Path], name: str) -> None:
    assert all((folders[name] / file.path).is_file() for file in registry.entry(name).files)


@pytest.mark.parametrize("name", LDMS)
def test_every_weight_arrives_as_it_was_written(folders: dict[str, Path], name: str) -> None:
    """In float32, whatever dtype config.json names; from the plain file, not the fp16 variant."""
    model = ldm.load(weights=f"file:{folders[name]}")
    for part in released.NETS:
        net, written = getattr(model, part), official.weights_of(name, part)
        state = net.state_dict()
        assert state.keys() == written.keys() and net.dtype == torch.float32
        assert all(torch.equal(value, written[key]) for key, value in state.items()), part
        assert not net.training and not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("name", LDMS)
def test_files_hold_the_released_kinds_of_names(folders: dict[str, Path], name: str) -> None:
    """What the stand-ins say is old is old in them: else the tests above would test nothing."""
    text, vae = (
        safe_open(folders[name] / part / official.WEIGHTS[part], "pt").keys()
        for part in ("text_encoder", "vae")
    )
    assert "text_model.encoder.layers.0.self_attn.k_proj.weight" in text
    assert ("text_model.embeddings.position_ids" in text) == (name in ("sd14", "sd15"))
    assert "decoder.mid_block.attentions.0.proj_attn.weight" in vae
    assert not any("to_q" in key for key in vae)


@pytest.mark.parametrize(
    ("name", "solver", "prediction", "side", "padding"),
    [
        ("sd14", "PNDMScheduler", "epsilon", 64, EOS),
        ("sd15", "PNDMScheduler", "epsilon", 64, EOS),
        ("sd20base", "PNDMScheduler", "epsilon", 64, 0),
        ("sd21base", "PNDMScheduler", "epsilon", 64, 0),
        ("sd21", "DDIMScheduler", "v_prediction", 96, 0),
    ],
)
def test_what_the_models_differ_in(
    folders: dict[str, Path], name: str, solver: str, prediction: str, side: int, padding: int
) -> None:
    """SD 2.x pads prompts with "!", which only special_tokens_map.json says (diffusers #2201)."""
    model = ldm.load(weights=f"file:{folders[name]}", resolution=side)
    assert (model.solver, model.scheduler.config.prediction_type) == (solver, prediction)
    assert model.num_timesteps == 1000 and model.factor == 8
    assert model.latent_shape == (4, side // 8, side // 8)
    ids = model.tokenizer("hi", padding="max_length", max_length=77).input_ids
    assert ids[-1] == padding and len(ids) == 77
    assert model.vae.config.scaling_factor == 0.18215


@pytest.mark.parametrize("name", LDMS)
def test_the_schedule_is_stable_diffusions(folders: dict[str, Path], name: str) -> None:
    kept = ldm.load(weights=f"file:{folders[name]}").scheduler.alphas_cumprod[[10, 40, 100, 300]]
    expected = torch.tensor([0.9904, 0.9619, 0.8942, 0.5905])
    torch.testing.assert_close(kept, expected, atol=1e-4, rtol=0)


def test_a_model_of_another_resolution_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="makes pictures of 96 pixels, not 512"):
        ldm.load(weights=f"file:{folders['sd21']}", resolution=512)


@pytest.mark.parametrize("scaling_factor", [True, False], ids=["said", "not said"])
def test_the_upscaler_is_read_with_its_factor(tmp_path: Path, scaling_factor: bool) -> None:
    folder = official.write_upscaler(tmp_path, scaling_factor=scaling_factor)
    pipeline = upscaler.load(weights=f"file:{folder}").pipeline
    assert pipeline.vae.config.scaling_factor == 0.08333
    assert pipeline.config.max_noise_level == 350
    assert type(pipeline.low_res_scheduler).__name__ == "DDPMScheduler"
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    for part in released.NETS:
        net, written = getattr(pipeline, part), official.weights_of("sd_x4_upscaler", part)
        state = net.state_dict()
        assert state.keys() == written.keys() and net.dtype == torch.float32
        assert all(torch.equal(value, written[key]) for key, value in state.items()), part


def test_the_upscaler_enlarges_by_four(folders: dict[str, Path]) -> None:
    net = upscaler.load(weights=f"file:{folders['sd_x4_upscaler']}")
    x = DRAWS.uniform("x", (3, 16, 16), 1)
    options = {"prompt": "a photo", "draws": DRAWS, "steps": 1, "guidance": 9.0}
    low, high = (net(x, noise_level=level, **options) for level in (20, 350))
    assert low.shape == (1, 3, 64, 64) and not torch.equal(low, high)  # it hears the noise level


@pytest.mark.usefixtures("small_pixel")
@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before torch 1.6"])
def test_the_pixel_model_computes_what_its_own_code_does(tmp_path: Path, archive: bool) -> None:
    file = tmp_path / "256x256_diffusion_uncond.pt"
    reference = ReferenceUNet(**official.PIXEL)
    reference.load_state_dict(official.write_pixel(file, archive=archive))
    model = guided_diffusion.load(weights=f"file:{file}")
    x, t = DRAWS.normal("x", (3, 32, 32), 1), torch.tensor([300])
    torch.testing.assert_close(model.unet(x, t).sample, reference(x, t), atol=1e-4, rtol=1e-4)
    assert model.resolution == official.PIXEL_SIDE and not model.unet.training


@pytest.mark.usefixtures("small_pixel")
def test_what_is_unpickled_is_compared_with_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSHORTCUT_WEIGHTS", str(tmp_path))
    file = tmp_path / PIXEL / "256x256_diffusion_uncond.pt"
    official.write_pixel(file)
    with pytest.raises(UserError, match=f"is not what it was.*weights fetch {PIXEL}"):
        guided_diffusion.load(weights=f"full:{PIXEL}")
    entry, sha = registry.entry(PIXEL), hashlib.sha256(file.read_bytes()).hexdigest()
    known = replace(entry, files=(replace(entry.files[0], sha256=sha),))
    monkeypatch.setattr(registry, "entries", lambda: {PIXEL: known})
    assert guided_diffusion.load(weights=f"full:{PIXEL}").resolution == official.PIXEL_SIDE


@pytest.mark.parametrize("name", (*LDMS, "sd_x4_upscaler", PIXEL))
def test_what_is_missing_is_said_with_size_licence_and_command(name: str) -> None:
    with pytest.raises(UserError) as caught:
        weights.locate(f"full:{name}")
    entry = registry.entry(name)
    for said in (entry.title, size(entry.bytes), entry.licence, f"weights fetch {name},"):
        assert said in str(caught.value)
    assert entry.bytes > 2e9 and any(word in entry.licence for word in ("RAIL", "MIT"))


@pytest.mark.parametrize("name", LDMS)
def test_every_model_is_a_choice_of_victim_and_of_surrogate(name: str) -> None:
    side = 768 if name == "sd21" else 512
    cfg = config.resolve(config.compose(["zoo=full", f"model={name}", "attack=aspl"]))
    config.check(cfg)
    assert cfg["zoo"]["resolution"] == cfg["model"]["resolution"] == side
    assert cfg["trainer"]["model"]["weights"] == f"full:{name}" == cfg["surrogate"]["weights"]
    assert 8 * released.config(name, "unet")["sample_size"] == side
    transfer = config.resolve(config.compose(["zoo=full", f"surrogate={name}", "attack=aspl"]))
    config.check(transfer)
    assert transfer["attack"]["surrogate"]["weights"] == f"full:{name}"
    assert transfer["zoo"]["resolution"] == 512  # the victim's
