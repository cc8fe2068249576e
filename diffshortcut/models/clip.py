"""CLIP (Radford et al. 2021): images and texts in one space."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPModel, CLIPTokenizer

from diffshortcut.models.remembered import remembered
from diffshortcut.pictures.images import center_square, resize
from diffshortcut.weights import locate

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A CLIPModel with its tokenizer and the statistics of its pixels."""

    model: CLIPModel
    tokenizer: CLIPTokenizer
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    def image_features(self, images: Tensor) -> Tensor:
        """(n, d) unit vectors of images (n, 3, h, w) in [0, 1]; differentiable."""
        pixels = resize(center_square(images), self.model.config.vision_config.image_size)
        pixels = pixels.to(self.model.device)
        mean, std = (pixels.new_tensor(v).view(3, 1, 1) for v in (self.mean, self.std))
        return normalize(self.model.get_image_features((pixels - mean) / std).pooler_output)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """(n, d) unit vectors of texts."""
        length = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        ).to(self.model.device)
        return normalize(self.model.get_text_features(tokens.input_ids).pooler_output)

    def probabilities(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(images, texts): the softmax over texts of the cosines times the learned scale."""
        cosines = self.image_features(images) @ self.text_features(texts).T
        return (cosines * self.model.logit_scale.exp()).softmax(dim=1)


def load(*, weights: str) -> Clip:
    """The CLIP model of a weight reference (a transformers folder), read once per process."""
    return _load(locate(weights), torch.get_default_device())


@remembered
def _load(folder: Path, device: torch.device) -> Clip:
    # OpenAI released ViT-B/32 before safetensors; transformers reads a .bin as weights only
    safe = (folder / "model.safetensors").exists()
    model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=safe)
    model = model.to(device, torch.float32).eval().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    return Clip(model=model, tokenizer=tokenizer, **_statistics(folder))


def _statistics(folder: Path) -> dict[str, tuple[float, ...]]:
    file = folder / "preprocessor_config.json"
    if not file.exists():
        return {}
    values = json.loads(file.read_text())
    return {"mean": tuple(values["image_mean"]), "std": tuple(values["image_std"])}
