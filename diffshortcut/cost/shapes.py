"""Models without weights: every loader finds a configuration and makes a net of its shapes.

Those of the mini zoo come from their folders. The full zoo's diffusion models and CLIP come from
the released configurations, whether their weights are here or not.
"""

import atexit
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

import torch
from diffusers import ModelMixin
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPTokenizer, PreTrainedModel

from diffshortcut.errors import UserError
from diffshortcut.models import (
    codeformer,
    faces,
    guided_diffusion,
    nets,
    parsenet,
    released,
    retinaface,
)
from diffshortcut.models.geometry import ARCFACE
from diffshortcut.weights import MINI, registry, unpickle

FILES = {"codeformer", "guided_diffusion_256_uncond"}  # single files, whose loaders know the shapes
WIDTH = 512  # of an embedding
TOKENS = 77  # of a prompt, in every CLIP of the full zoo


class UnknownShapesError(UserError):
    """A model whose shapes cannot be told without its weights."""


@contextmanager
def shapes_only() -> Iterator[None]:
    """Inside, loaders read configurations and no weights."""
    locate, tokenizer = registry.locate, CLIPTokenizer.from_pretrained

    def located(name: str) -> Path:
        return _released(name) or locate(name)

    def tokens(folder: Path | str, *args: Any, **kwargs: Any) -> CLIPTokenizer:
        if any((Path(folder) / file).is_file() for file in ("vocab.json", "tokenizer.json")):
            return tokenizer(folder, *args, **kwargs)
        found = tokenizer(MINI / "mini_a" / "tokenizer", local_files_only=True)
        found.model_max_length = TOKENS
        return found

    with ExitStack() as stack:
        for owner, name, stand_in in (
            (registry, "locate", located),
            (CLIPTokenizer, "from_pretrained", tokens),
            (ModelMixin, "from_pretrained", classmethod(_diffusers)),
            (PreTrainedModel, "from_pretrained", classmethod(_transformers)),
            (nets, "load_file", _nothing),
            (codeformer, "load_file", _nothing),
            (guided_diffusion, "converted", _nothing),
            (torch, "load", lambda *_, **__: {"params_ema": {}}),
            (unpickle, "_compared", Path),
            (parsenet, "_net", lambda *_: _nothing_pasted),  # two nets that are small beside theirs
            (retinaface, "_net", lambda *_: None),
            (retinaface.RetinaFace, "detect", _one_face),
            (nn.Module, "load_state_dict", _nothing),
            (faces.OnnxNet, "__init__", _nothing),
            (faces.Detector, "detect", _one_face),
            (faces.Recognizer, "embed", _embedded(faces.Recognizer.embed)),
        ):
            stack.enter_context(patch.object(owner, name, stand_in))
        yield


@cache
def _released(name: str) -> Path | None:
    """A folder of configurations as a released pipeline has it; None if none is known."""
    name, _, inner = name.partition("/")
    if name in FILES or inner.endswith(".onnx"):
        return Path(name)
    if name == "clip_vit_b32":
        return _written(name, {"config.json": CLIPConfig().to_dict()})
    if name not in released.names():
        raise UnknownShapesError(f"full:{name}: its shapes are not known without its weights")
    parts = {
        part: released.config(name, part)
        for part in (*released.NETS, "scheduler", "low_res_scheduler")
        if part != "low_res_scheduler" or name == "sd_x4_upscaler"
    }
    files = {f"{part}/{_file(part)}": config for part, config in parts.items()}
    index = json.loads((MINI / "upscaler" / "model_index.json").read_text())
    return _written(name, {**files, "model_index.json": index})


def _file(part: str) -> str:
    return "scheduler_config.json" if "scheduler" in part else "config.json"


def _written(name: str, files: dict[str, Any]) -> Path:
    folder = Path(mkdtemp(prefix=f"diffshortcut-{name}-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    for file, content in files.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(json.dumps(content))
    return folder


def _diffusers(cls: Any, folder: Path, subfolder: str | None = None, **_: Any) -> nn.Module:
    return cls.from_config(cls.load_config(folder, subfolder=subfolder)).eval()


def _transformers(cls: Any, folder: Path, **_: Any) -> nn.Module:
    return cls(cls.config_class.from_pretrained(folder)).eval()


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _nothing_pasted(pixels: Tensor) -> tuple[Tensor, None]:
    """Every pixel is background."""
    return torch.zeros(len(pixels), 19, *pixels.shape[-2:]), None


def _one_face(detector: Any, images: Tensor) -> list[list[faces.Face]]:
    """Every picture shows one."""
    box = torch.tensor([0.0, 0.0, 112.0, 112.0], device="cpu")
    return [[faces.Face(box=box, score=1.0, points=ARCFACE)] for _ in images]


def _embedded(embed: Any) -> Any:
    """A net of onnxruntime is not seen by these books."""

    def embedded(recognizer: faces.Recognizer, aligned: Tensor) -> Tensor:
        if isinstance(recognizer.net, faces.OnnxNet):
            return torch.zeros(len(aligned), WIDTH, device="cpu")
        return embed(recognizer, aligned)

    return embedded
