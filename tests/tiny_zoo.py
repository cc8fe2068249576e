"""Composed nodes with every weight replaced by a tiny random one, for contract tests."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from diffshortcut.attacks.scene import Scene
from diffshortcut.config import config
from diffshortcut.config.schema import STAGE_REFERENCES
from diffshortcut.mini.export import export_detector
from diffshortcut.models.codeformer import CodeFormer
from diffshortcut.models.nets import DetectorNet, RecognizerBNet
from diffshortcut.models.vq import Config
from diffshortcut.pictures.images import quantize

TinyZoo = dict[str, Path]  # the target of a loader to the weights it is to read


def restorer(folder: Path) -> Path:
    """A random CodeFormer whose crop is the whole image."""
    torch.manual_seed(0)
    sizes = {"resolution": 32, "base_channels": 32, "multipliers": (1, 1, 1), "blocks": 1}
    transformer = {"codes": 16, "dim": 16, "heads": 2, "layers": 1, "connect": (16,)}
    CodeFormer(Config(**sizes, **transformer, attention=(8,), code_channels=32)).save(folder)
    return folder


def detector(folder: Path) -> Path:
    """A random detector as an ONNX file."""
    torch.manual_seed(0)
    path = folder / "model.onnx"
    export_detector(DetectorNet(width=8), path, size=64)
    return path


def recognizer_b(folder: Path) -> Path:
    """A random recognizer B, whose features are the perceptual distance."""
    torch.manual_seed(0)
    sizes = {"width": 4, "dim": 8}
    save_file(RecognizerBNet(**sizes).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(sizes))
    return folder


def node(group: str, overrides: list[str], zoo: TinyZoo) -> dict[str, Any]:
    """The resolved node of a config group with tiny weights and few steps."""
    return _tiny(_resolved(*overrides)[group], zoo)


@cache
def _resolved(*overrides: str) -> dict[str, Any]:
    """Composed once for all tests that ask for the same; what they get is _tiny's copy."""
    return config.resolve(config.compose(["debug=quick", *overrides]))


def _tiny(value: Any, zoo: TinyZoo) -> Any:
    if isinstance(value, list):
        return [_tiny(child, zoo) for child in value]
    if not isinstance(value, dict):
        return value
    tiny = {k: _tiny(v, zoo) for k, v in value.items() if k not in STAGE_REFERENCES}
    if str(tiny.get("_target_")).endswith(".GridPure"):
        tiny["iterations"] = min(tiny["iterations"], 2)  # GrIDPure's own are tens of seconds
    if "weights" in tiny:
        tiny["weights"] = f"file:{zoo[tiny['_target_']]}"
    return tiny


def pictures(count: int, seed: int) -> Tensor:
    """Smooth images in exact 8-bit levels, (count, 3, 32, 32)."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return quantize(torch.nn.functional.interpolate(coarse, size=32, mode="bilinear"))


def scene(count: int) -> Scene:
    """`count` noises for set_A, set_B and class pictures each."""
    generator = torch.Generator().manual_seed(1)
    b, a, prior = quantize(torch.rand(3, count, 3, 32, 32, generator=generator))
    return Scene(images=b, clean=a, prior=prior, names=tuple(f"{n}.png" for n in range(count)))


def tokenizer():  # noqa: ANN201
    """A CLIPTokenizer of letters: 514 tokens."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
