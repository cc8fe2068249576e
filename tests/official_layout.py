"""The full zoo's diffusion models in their released layouts, small and with random weights.

Folders, file names, names of weights and the words of config files are the released ones (see
models/released.yaml and released_names.py for where they were read); sizes are not. For tests of
loaders and loops, never of results.
"""

import json
from pathlib import Path
from typing import Any

import torch
from guided_reference import ReferenceUNet
from safetensors.torch import save_file
from tiny_zoo import tokenizer as _tokenizer
from torch import Tensor

from diffshortcut.models import released

SIDE = 8  # of the latents of a model of 512 pixels
GROUPS = {"layers_per_block": 1, "norm_num_groups": 8}
UNET = {**GROUPS, "block_out_channels": [16, 32, 32, 32], "cross_attention_dim": 16}
HEADS = {"sd14": 8, "sd15": 8, "sd_x4_upscaler": 8}  # of the second models one for each level
VAE = {**GROUPS, "sample_size": 64}
TEXT = {
    "vocab_size": 514,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
PIXEL = {"channels": 32, "multipliers": (1, 2), "blocks": 2, "attention": (2,), "head": 16}
PIXEL_SIDE = 32
LEGACY_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}
COMPONENTS = {
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def resolution(name: str) -> int:
    """The side of the pictures of a small `name`."""
    return 8 * _sizes(name, "unet")["sample_size"]


def write_ldm(folder: Path, name: str) -> Path:
    """Stable Diffusion 1.x or 2.x, with what else its repository holds."""
    _write_parts(folder, name)
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0", **COMPONENTS}
    index["scheduler"] = ["diffusers", released.config(name, "scheduler")["_class_name"]]
    index["feature_extractor"] = ["transformers", "CLIPFeatureExtractor"]
    if name in ("sd14", "sd15"):
        index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
        _write(folder / "safety_checker", "config.json", {"architectures": ["SafetyChecker"]})
        (folder / "safety_checker" / "model.safetensors").write_bytes(b"not to be opened")
    else:
        index |= {"safety_checker": [None, None], "requires_safety_checker": False}
    _write(folder / "feature_extractor", "preprocessor_config.json", {"crop_size": 224})
    _write(folder, "model_index.json", index)
    return folder


def write_upscaler(folder: Path, *, scaling_factor: bool = True) -> Path:
    """The x4 upscaler, whose autoencoder's config.json at first said no scaling factor."""
    name = "sd_x4_upscaler"
    _write_parts(folder, name)
    _write(folder / "low_res_scheduler", "scheduler_config.json", _scheduler(name, "low_res_"))
    index = {"_class_name": "StableDiffusionUpscalePipeline", **COMPONENTS}
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    index["low_res_scheduler"] = ["diffusers", "DDPMScheduler"]
    _write(folder, "model_index.json", {**index, "max_noise_level": 350})
    if not scaling_factor:
        path = folder / "vae" / "config.json"
        values = json.loads(path.read_text())
        del values["scaling_factor"]
        path.write_text(json.dumps(values))
    return folder


def write_pixel(file: Path, *, archive: bool = True) -> dict[str, Tensor]:
    """256x256_diffusion_uncond.pt, a state dict; `archive` as torch has written them since 1.6."""
    torch.manual_seed(0)
    state = ReferenceUNet(**PIXEL).state_dict()
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file, _use_new_zipfile_serialization=archive)
    return state


def pixel_options() -> dict[str, Any]:
    """What makes guided_diffusion.build's architecture that of `write_pixel`."""
    return {
        "attentive": 1,
        "sample_size": PIXEL_SIDE,
        "block_out_channels": (32, 64),
        "attention_head_dim": 16,
    }


def weights_of(name: str, part: str) -> dict[str, Tensor]:
    """Random weights by the names that diffusers and transformers give them now."""
    torch.manual_seed(len(name) + len(part))
    state = released.net(name, part, **_sizes(name, part)).state_dict()
    return {key: value + torch.randn_like(value) / 100 for key, value in state.items()}


def as_released(name: str, part: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """By the names of the released file: older ones for texts and for the VAE's attention."""
    if part == "text_encoder":
        found = {f"text_model.{key}": value for key, value in state.items()}
        if name in ("sd14", "sd15"):
            found["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        return found
    if part == "vae":
        for new, old in LEGACY_ATTENTION.items():
            state = {key.replace(f".0.{new}.", f".0.{old}."): v for key, v in state.items()}
    return state


def _write_parts(folder: Path, name: str) -> None:
    for part, file in WEIGHTS.items():
        values = {**released.config(name, part), **_sizes(name, part)}
        own = {"_class_name": "UNet2DConditionModel" if part == "unet" else "AutoencoderKL"}
        if part == "text_encoder":
            own = {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model"}
        _write(folder / part, "config.json", {**own, **values})
        state = as_released(name, part, weights_of(name, part))
        save_file(state, folder / part / file, {"format": "pt"})
        half = {key: torch.zeros_like(value, dtype=torch.float16) for key, value in state.items()}
        variant = file.replace(".safetensors", ".fp16.safetensors")
        save_file(half, folder / part / variant, {"format": "pt"})
    _write(folder / "scheduler", "scheduler_config.json", _scheduler(name))
    write_tokenizer(folder / "tokenizer", "!" if _is_second(name) else "<|endoftext|>")


def _scheduler(name: str, prefix: str = "") -> dict[str, Any]:
    return {"_diffusers_version": "0.10.0.dev0", **released.config(name, f"{prefix}scheduler")}


def write_tokenizer(folder: Path, padding: str) -> None:
    _tokenizer().save_pretrained(folder)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    for made in folder.iterdir():  # the released repositories hold four files, of older kinds
        made.unlink()
    _write(folder, "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = {
        f"{kind}_token": {
            "content": text,
            "lstrip": False,
            "normalized": True,
            "rstrip": False,
            "single_word": False,
        }
        for kind, text in (
            ("bos", "<|startoftext|>"),
            ("eos", "<|endoftext|>"),
            ("unk", "<|endoftext|>"),
        )
    }
    _write(folder, "special_tokens_map.json", {**special, "pad_token": padding})
    typed = {key: {"__type": "AddedToken", **value} for key, value in special.items()}
    rest = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": "<|endoftext|>",  # of the second models too: the other file is right
        "special_tokens_map_file": "./special_tokens_map.json",
        "tokenizer_class": "CLIPTokenizer",
    }
    _write(folder, "tokenizer_config.json", {**typed, **rest})


def _is_second(name: str) -> bool:
    return name not in ("sd14", "sd15")


def _sizes(name: str, part: str) -> dict[str, Any]:
    if part == "text_encoder":
        return TEXT
    if part == "vae":
        levels = len(released.config(name, "vae")["block_out_channels"])
        return {**VAE, "block_out_channels": [8] * levels}
    side = released.config(name, "unet")["sample_size"] * SIDE // 64
    return {**UNET, "sample_size": side, "attention_head_dim": HEADS.get(name, [1, 2, 4, 4])}


def _write(folder: Path, name: str, values: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(values, indent=2))
