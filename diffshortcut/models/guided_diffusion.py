"""Guided diffusion (Dhariwal & Nichol 2021): its checkpoints as the UNet of diffusers.

`256x256_diffusion_uncond.pt` holds 552,814,086 weights under names of its own; this file knows
which is which. Nothing else tells the full zoo's pixel model from the mini zoo's.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from diffshortcut.models.pixel_diffusion import PixelDiffusion, with_schedule
from diffshortcut.models.remembered import remembered
from diffshortcut.precision import Precision
from diffshortcut.weights import locate
from diffshortcut.weights.unpickle import unpickled

LAYERS = 2  # residual blocks per level
ADM_256 = {
    "sample_size": 256,
    "block_out_channels": (256, 256, 512, 512, 1024, 1024),
    "layers_per_block": LAYERS,
    "attention_head_dim": 64,
    "norm_num_groups": 32,
}
ATTENTIVE = 3  # levels without attention: it starts at 32 pixels
RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def load(*, weights: str, precision: Precision | None = None) -> PixelDiffusion:
    """The model of a weight reference (the released .pt file), read once per process."""
    precision = precision or Precision()
    return _load(locate(weights), weights, torch.get_default_device(), precision)


@remembered
def _load(_: Path, weights: str, device: torch.device, precision: Precision) -> PixelDiffusion:
    released = unpickled(weights)
    with torch.device("meta"):
        unet = build()
    unet.load_state_dict(converted(released, unet), assign=True)
    unet = unet.to(device, torch.float32).eval().requires_grad_(False)
    schedule = DDPMScheduler(beta_schedule="linear", variance_type="learned_range")
    return with_schedule(precision.prepare(unet), schedule, precision)


def build(attentive: int = ATTENTIVE, **options: Any) -> UNet2DModel:
    """The architecture, by default that of 256x256_diffusion_uncond, with fresh weights."""
    options = {**ADM_256, **options}
    levels = len(options["block_out_channels"])
    down = [
        "ResnetDownsampleBlock2D" if level < attentive else "AttnDownBlock2D"
        for level in range(levels)
    ]
    return UNet2DModel(
        in_channels=3,
        out_channels=6,
        down_block_types=tuple(down),
        up_block_types=tuple(name.replace("Down", "Up") for name in reversed(down)),
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        freq_shift=0,
        flip_sin_to_cos=True,
        norm_eps=1e-5,
        attn_norm_num_groups=options["norm_num_groups"],  # else the middle one has no norm
        **options,
    )


def converted(released: Mapping[str, Tensor], unet: UNet2DModel) -> dict[str, Tensor]:
    """The state of `unet` from a released checkpoint; KeyError if it is of another architecture."""
    state: dict[str, Tensor] = {}
    for theirs, ours in _modules(unet):
        if ".attentions." in ours:
            state |= _attention(released, theirs, ours, unet.config.attention_head_dim)
        elif ".resnets." in ours or "samplers." in ours:
            for inner, name in RESIDUAL.items():
                if f"{theirs}.{inner}.weight" in released or inner != "skip_connection":
                    state |= _copied(released, f"{theirs}.{inner}", f"{ours}.{name}")
        else:
            state |= _copied(released, theirs, ours)
    return state


def _copied(released: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    return {f"{ours}.{kind}": released[f"{theirs}.{kind}"] for kind in ("weight", "bias")}


def _attention(
    released: Mapping[str, Tensor], theirs: str, ours: str, head: int
) -> dict[str, Tensor]:
    """Queries, keys and values lie head by head in one convolution of width 1."""
    state = _copied(released, f"{theirs}.norm", f"{ours}.group_norm")
    for kind in ("weight", "bias"):
        joint = released[f"{theirs}.qkv.{kind}"]
        joint = joint.reshape(-1, 3, head, *joint.shape[1:2])
        for part, name in enumerate(("to_q", "to_k", "to_v")):
            state[f"{ours}.{name}.{kind}"] = joint[:, part].flatten(0, 1)
        state[f"{ours}.to_out.0.{kind}"] = released[f"{theirs}.proj_out.{kind}"].squeeze(-1)
    return state


def _modules(unet: UNet2DModel) -> Iterator[tuple[str, str]]:
    """Every layer and block: its released name, and its name in diffusers."""
    yield from (("time_embed.0", "time_embedding.linear_1"), ("input_blocks.0.0", "conv_in"))
    yield from (("time_embed.2", "time_embedding.linear_2"), ("out.2", "conv_out"))
    yield "out.0", "conv_norm_out"
    yield from (
        ("middle_block.0", "mid_block.resnets.0"),
        ("middle_block.2", "mid_block.resnets.1"),
    )
    yield "middle_block.1", "mid_block.attentions.0"
    number = count(1)
    for level, block in enumerate(unet.down_blocks):
        for layer in range(len(block.resnets)):
            yield from _layer(f"input_blocks.{next(number)}", f"down_blocks.{level}", layer, block)
        if block.downsamplers:
            yield f"input_blocks.{next(number)}.0", f"down_blocks.{level}.downsamplers.0"
    number = count()
    for level, block in enumerate(unet.up_blocks):
        for layer in range(len(block.resnets)):
            theirs = f"output_blocks.{next(number)}"
            found = list(_layer(theirs, f"up_blocks.{level}", layer, block))
            yield from found
            if block.upsamplers and layer == len(block.resnets) - 1:
                yield f"{theirs}.{len(found)}", f"up_blocks.{level}.upsamplers.0"


def _layer(theirs: str, ours: str, layer: int, block: Any) -> Iterator[tuple[str, str]]:
    yield f"{theirs}.0", f"{ours}.resnets.{layer}"
    if hasattr(block, "attentions"):
        yield f"{theirs}.1", f"{ours}.attentions.{layer}"
