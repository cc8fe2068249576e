"""Quality models of the full zoo by pyiqa: LIQE (Zhang et al. 2023), CLIP-IQA (Wang et al. 2023).

pyiqa's constructors would fetch CLIP and keep LIQE's text features in a cache that nothing checks.
They are given a CLIP made of the registry's files and an empty folder instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from diffshortcut import extras
from diffshortcut.models.remembered import remembered
from diffshortcut.pictures.images import resize
from diffshortcut.weights.unpickle import scripted, unpickled

LEAST = 224  # pixels that LIQE's patches need


class Liqe:
    """LIQE's role in the full zoo."""

    def __init__(self, *, net: Any) -> None:
        self.net = net

    @torch.no_grad()
    def score(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] to (n,) in [1 (bad), 5 (perfect)]."""
        pixels = images.to(self.net.text_features.device)
        if (shorter := min(pixels.shape[-2:])) < LEAST:
            height, width = (round(side * LEAST / shorter) for side in pixels.shape[-2:])
            pixels = resize(pixels, (height, width))
        return self.net(pixels).flatten().cpu()


class ClipIqa:
    """CLIP-IQA in LIQE's role: its p in [0, 1] as 1 + 4 p, which renormalizes to 2 p - 1."""

    def __init__(self, *, net: Any) -> None:
        self.net = net

    @torch.no_grad()
    def score(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] to (n,) in [1 (bad), 5 (perfect)]."""
        device = self.net.clip_model[0].logit_scale.device
        return (1 + 4 * self.net(images.to(device))).flatten().cpu()


def load(*, weights: str) -> Liqe:
    """LIQE of the released LIQE.pt or pyiqa's liqe_mix.pt: CLIP ViT-B/32, fine-tuned."""
    return Liqe(net=_liqe(weights, torch.get_default_device()))


def load_clip_iqa(*, weights: str) -> ClipIqa:
    """CLIP-IQA on OpenAI's released RN50.pt."""
    return ClipIqa(net=_clip_iqa(weights, torch.get_default_device()))


@remembered
def _liqe(reference: str, device: torch.device) -> Any:
    state = _clip_state(unpickled(reference))
    source = extras.load("pyiqa.archs.liqe_arch", "full")
    with _given(source, state), torch.no_grad():
        net = source.LIQE(pretrained=False, mtl=True)
    net.text_features = net.text_features.to(device)
    return net.to(device).eval().requires_grad_(False)


def _clip_state(held: dict[str, Any]) -> dict[str, Tensor]:
    """LIQE.pt holds CLIP's state; pyiqa's file that of its LIQE, under `params`."""
    state = held.get("params", held)
    return {name.removeprefix("clip_model."): value for name, value in state.items()}


@remembered
def _clip_iqa(reference: str, device: torch.device) -> Any:
    archive = scripted(reference)  # as OpenAI released it
    source = extras.load("pyiqa.archs.clipiqa_arch", "full")
    with _given(source, archive.state_dict()):
        net = source.CLIPIQA(model_type="clipiqa", backbone="RN50")
    net.clip_model[0].to(device)  # a list hides it from `to`
    return net.to(device).eval()


@contextmanager
def _given(source: ModuleType, state: dict[str, Tensor]) -> Iterator[None]:
    """Let a module of pyiqa construct its network around the CLIP of a state, offline, silently."""
    clip = extras.load("pyiqa.archs.clip_model", "full").build_model(state).float()
    clip.load_state_dict(state)  # building it rounded its weights to half precision
    kept = {name: getattr(source, name, None) for name in ("load", "DEFAULT_CACHE_DIR")}
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        source.__dict__.update(load=lambda *_: clip, DEFAULT_CACHE_DIR=folder)
        try:
            yield
        finally:
            source.__dict__.update(kept)
