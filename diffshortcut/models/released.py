"""The released architectures of the full zoo's diffusion models, whether their weights are here.

`released.yaml` holds what their config files say. A net of them has fresh weights, or, on the meta
device, none: for counting what a full-size step costs, and for tests of loaders.
"""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

TABLE = Path(__file__).with_name("released.yaml")
NETS = ("unet", "vae", "text_encoder")


def config(name: str, part: str) -> dict[str, Any]:
    """A copy of what part/config.json (of a scheduler: scheduler_config.json) holds."""
    return deepcopy(_table()[name][part])


def names() -> tuple[str, ...]:
    """The models, as the registry of weights calls them."""
    return tuple(_table())


def net(name: str, part: str, **changes: Any) -> nn.Module:
    """The `unet`, `vae` or `text_encoder` of a model, frozen, on torch's default device."""
    settings = {**config(name, part), **changes}
    if part == "text_encoder":
        made: nn.Module = CLIPTextModel(CLIPTextConfig(**{**settings, "torch_dtype": "float32"}))
    else:
        made = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}[part].from_config(settings)
    return made.eval().requires_grad_(False)


@cache
def _table() -> dict[str, Any]:
    return yaml.safe_load(TABLE.read_text())
