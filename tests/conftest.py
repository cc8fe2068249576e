"""Tiny randomly initialised checkpoints, for tests of loaders and loops (never of results)."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tiny_zoo import tokenizer as _tokenizer
from world import world  # noqa: F401  # a fixture

from diffshortcut.config import sweep

if TYPE_CHECKING:
    from diffshortcut.models.ldm import LatentDiffusion

torch.set_num_threads(1)
os.environ["DIFFSHORTCUT_WEIGHTS"] = "/nonexistent/weights"  # whatever this machine has


@pytest.fixture(autouse=True)
def nothing_left_set() -> Iterator[None]:
    """What a test tells its process, threads, device and sweep, is not told to the next test."""
    yield
    torch.set_num_threads(1)
    torch.set_default_device(None)
    for variable in (sweep.JOBS, sweep.NAME):
        os.environ.pop(variable, None)


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The full zoo's packages like to download; whatever connects in their tests fails."""
    if request.node.get_closest_marker("full"):
        monkeypatch.setattr("socket.socket.connect", _refused)
        monkeypatch.setattr("socket.getaddrinfo", _refused)


def _refused(*_: object, **__: object) -> None:
    raise AssertionError("a test of the full zoo asked for the network")


@pytest.fixture(scope="session")
def tiny_ldm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers pipeline folder: 32 px images, 4 x 4 x 4 latents, epsilon prediction."""
    return _ldm(tmp_path_factory.mktemp("ldm"), prediction_type="epsilon")


@pytest.fixture
def model(tiny_ldm_folder: Path) -> "LatentDiffusion":
    """The model of that folder."""
    from diffshortcut.models.ldm import load

    return load(weights=f"file:{tiny_ldm_folder}")


@pytest.fixture(scope="session")
def tiny_v_ldm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with v-prediction."""
    return _ldm(tmp_path_factory.mktemp("ldm_v"), prediction_type="v_prediction")


@pytest.fixture(scope="session")
def tiny_upscaler_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StableDiffusionUpscalePipeline folder (x4)."""
    from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionUpscalePipeline

    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        pipeline = StableDiffusionUpscalePipeline(
            vae=_vae(levels=3),
            text_encoder=_text_encoder(),
            tokenizer=_tokenizer(),
            unet=_unet(in_channels=7, num_class_embeds=1000),
            low_res_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
            scheduler=DDIMScheduler(prediction_type="v_prediction", **SCHEDULE),
            max_noise_level=350,
        )
    pipeline.vae.register_to_config(scaling_factor=0.5)  # the pipeline has overwritten it
    return _saved(pipeline, tmp_path_factory.mktemp("upscaler"))


@pytest.fixture(scope="session")
def tiny_pixel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DDPMPipeline folder of guided diffusion's architecture, 16 px."""
    from diffusers import DDPMPipeline, DDPMScheduler

    from diffshortcut.models import guided_diffusion

    torch.manual_seed(0)
    unet = guided_diffusion.build(
        attentive=1,
        sample_size=16,
        block_out_channels=(8, 8),
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    scheduler = DDPMScheduler(beta_schedule="linear", variance_type="learned_range")
    return _saved(DDPMPipeline(unet, scheduler), tmp_path_factory.mktemp("pixel"))


@pytest.fixture(scope="session")
def tiny_clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIPModel folder with its tokenizer, 32 px images."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    vision = {**TEXT_SIZES, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=_text_config(), vision_config=vision, projection_dim=8)
    folder = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


SCHEDULE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
}
TEXT_SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def _ldm(folder: Path, *, prediction_type: str) -> Path:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    scheduler = DDIMScheduler(
        prediction_type=prediction_type, clip_sample=False, set_alpha_to_one=False, **SCHEDULE
    )
    pipeline = StableDiffusionPipeline(
        vae=_vae(levels=4),
        text_encoder=_text_encoder(),
        tokenizer=_tokenizer(),
        unet=_unet(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _saved(pipeline, folder)


def _saved(pipeline, folder: Path) -> Path:  # noqa: ANN001
    pipeline.save_pretrained(folder)
    return folder


def _vae(*, levels: int):  # noqa: ANN202
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        scaling_factor=0.5,
    )


def _unet(**changes):  # noqa: ANN003, ANN202
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    sizes = {
        "sample_size": 4,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**sizes, **changes})


def _text_config() -> dict:
    special = {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    return {**TEXT_SIZES, **special, "vocab_size": 514, "max_position_embeddings": 77}


def _text_encoder():  # noqa: ANN202
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    return CLIPTextModel(CLIPTextConfig(**_text_config()))
