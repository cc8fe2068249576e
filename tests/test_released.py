"""The full zoo's architectures against the released checkpoints' names, shapes and sizes."""

from math import prod
from typing import Any

import pytest
import released_names
import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from guided_reference import ReferenceUNet
from released_names import Shapes

from diffshortcut.bench import sd_size
from diffshortcut.models import guided_diffusion, released
from diffshortcut.weights import registry

LDMS = ("sd14", "sd15", "sd20base", "sd21base", "sd21")
PARAMETERS = {  # as published; the upscaler's by the names of released_names.py
    ("sd14", "unet"): 859_520_964,
    ("sd14", "text_encoder"): 123_060_480,
    ("sd14", "vae"): 83_653_863,
    ("sd15", "unet"): 859_520_964,
    ("sd15", "text_encoder"): 123_060_480,
    ("sd15", "vae"): 83_653_863,
    **{(name, "unet"): 865_910_724 for name in LDMS[2:]},
    **{(name, "vae"): 83_653_863 for name in LDMS[2:]},
    **{(name, "text_encoder"): 340_387_840 for name in (*LDMS[2:], "sd_x4_upscaler")},
    ("sd_x4_upscaler", "unet"): 473_398_020,
    ("sd_x4_upscaler", "vae"): 55_325_927,
}
FILES = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
}
HEADER = 0.02e6, 0.2e6  # bytes of a safetensors file that are names and not weights


def shapes(name: str, part: str) -> Shapes:
    with torch.device("meta"):
        net = released.net(name, part)
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


def empty(listed: Shapes, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": torch.empty(s, device="meta") for name, s in listed.items()}


def renamed(converted: dict[str, torch.Tensor], prefix: str = "") -> Shapes:
    return {name.removeprefix(prefix): tuple(value.shape) for name, value in converted.items()}


@pytest.mark.parametrize(
    ("listed", "names", "parameters"),
    [
        ("unet_1", 686, 859_520_964),
        ("unet_2", 686, 865_910_724),
        ("unet_x4", 687, 473_398_020),
        ("vae", 248, 83_653_863),
        ("vae_x4", 204, 55_325_927),
        ("clip_l", 197, 123_060_480 + 77),
        ("open_clip", 294, 354_032_641),
    ],
)
def test_the_lists_are_whole(listed: str, names: int, parameters: int) -> None:
    found = getattr(released_names, listed)()
    assert len(found) == names and sum(prod(shape) for shape in found.values()) == parameters


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("sd14", "unet_1"),
        ("sd15", "unet_1"),
        ("sd20base", "unet_2"),
        ("sd21base", "unet_2"),
        ("sd21", "unet_2"),
        ("sd_x4_upscaler", "unet_x4"),
    ],
)
def test_denoisers_have_the_released_names_and_shapes(name: str, listed: str) -> None:
    """By way of the conversion that diffusers publishes, which made the released folders."""
    theirs = empty(getattr(released_names, listed)(), "model.diffusion_model.")
    converted = convert_ldm_unet_checkpoint(theirs, released.config(name, "unet"))
    assert renamed(converted) == shapes(name, "unet")


@pytest.mark.parametrize(("name", "listed"), [("sd21base", "vae"), ("sd_x4_upscaler", "vae_x4")])
def test_autoencoders_have_the_released_names_and_shapes(name: str, listed: str) -> None:
    theirs = empty(getattr(released_names, listed)())
    converted = convert_ldm_vae_checkpoint(theirs, released.config(name, "vae"))
    assert renamed(converted) == shapes(name, "vae")


def test_text_encoders_have_the_released_names_and_shapes() -> None:
    first = released_names.clip_l()
    del first["embeddings.position_ids"]  # a buffer that newer versions do not keep
    assert first == shapes("sd14", "text_encoder")
    prefix = "cond_stage_model.model."
    theirs = empty(released_names.open_clip(), prefix)
    converted = convert_open_clip_checkpoint(None, theirs, prefix=prefix)
    assert renamed(converted, "text_model.") == shapes("sd21base", "text_encoder")


def test_the_pixel_model_has_the_released_names_and_shapes() -> None:
    """Every weight of the file finds its place; the reference is written from its own code."""
    theirs = ReferenceUNet.released().state_dict()
    with torch.device("meta"):
        unet = guided_diffusion.build()
    ours = {name: tuple(value.shape) for name, value in unet.state_dict().items()}
    converted = guided_diffusion.converted(theirs, unet)
    assert renamed(converted) == ours
    assert sum(v.numel() for v in theirs.values()) == 552_814_086


@pytest.mark.parametrize(("name", "part"), list(PARAMETERS))
def test_parameters_are_as_many_as_published(name: str, part: str) -> None:
    assert sum(prod(shape) for shape in shapes(name, part).values()) == PARAMETERS[name, part]


@pytest.mark.parametrize(("name", "part"), list(PARAMETERS))
def test_registered_files_are_as_large_as_their_weights(name: str, part: str) -> None:
    """float32 and a header; sizes that end in 000 are rounded."""
    sizes = {file.path: file.bytes for file in registry.entry(name).files}
    size, weights = sizes[FILES[part]], 4 * PARAMETERS[name, part]
    if size % 1000 == 0:
        assert size == pytest.approx(weights, rel=0.01)
    else:
        assert HEADER[0] < size - weights < HEADER[1]


@pytest.mark.parametrize(
    ("net", "back_to", "published"),
    [
        ("unet", None, 0.804),
        ("unet", "input", 1.727),
        ("unet", "weights", 2.409),
        ("vae encoder", None, 1.117),
        ("vae encoder", "input", 2.268),
        ("vae decoder", None, 2.515),
        ("vae decoder", "input", 5.063),
        ("text encoder", None, 0.045),
        ("text encoder", "weights", 0.135),
        ("pixel model", None, 2.240),
        ("upscaler", None, 1.131),
    ],
)
def test_operations_are_those_counted_elsewhere(net: str, back_to: Any, published: float) -> None:
    assert sd_size.tflop(net, back_to) == pytest.approx(published, rel=0.05)
