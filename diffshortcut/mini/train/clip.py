"""The image-text model: a small CLIPModel, trained on portraits and their captions.

28,000 pictures are few for the contrastive loss alone, so linear heads that both towers share read
the captions' attributes off the embeddings; the heads are dropped when training ends.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from diffshortcut.mini.train import tokenizer
from diffshortcut.mini.train.corpus import Corpus, captions, pick
from diffshortcut.mini.train.labels import LABELS, classes
from diffshortcut.mini.train.loop import fit
from diffshortcut.mini.train.quality import generated, soft_levels, truth

BATCH, DAMAGED = 64, 24  # pictures a step, and how many of them are freshly damaged
TEXT = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": tokenizer.LENGTH,
    "projection_dim": 128,
}
VISION = {
    "hidden_size": 160,
    "intermediate_size": 640,
    "num_hidden_layers": 5,
    "num_attention_heads": 5,
    "image_size": 128,
    "patch_size": 16,
    "projection_dim": 128,
}


def text_config(tokens: CLIPTokenizer) -> CLIPTextConfig:
    """The text encoder's sizes, shared by CLIP and the latent diffusion models."""
    return CLIPTextConfig(
        **TEXT,
        vocab_size=len(tokens),
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )


def build(tokens: CLIPTokenizer) -> CLIPModel:
    """The untrained model, 2.4 M parameters."""
    vision = CLIPVisionConfig(**VISION)
    config = CLIPConfig(
        text_config=text_config(tokens).to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=128,
    )
    return CLIPModel(config)


def tokenize(tokens: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids (n, LENGTH), padded and cut."""
    return tokens(
        texts,
        padding="max_length",
        truncation=True,
        return_tensors="pt",
        max_length=tokenizer.LENGTH,
    ).input_ids


def contrast(image: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric cross-entropy in which every equal caption (same, (n, n) bool) is a positive."""
    logits = (
        scale.exp().clamp(max=100)
        * functional.normalize(image, dim=-1)
        @ functional.normalize(text, dim=-1).T
    )
    targets = same.float() / same.sum(-1, keepdim=True)
    return (
        functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)
    ) / 2


class Helpers(nn.Module):
    """Linear heads on the unit embeddings of both towers: attributes, and the level of damage."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attributes = nn.ModuleDict({k: nn.Linear(dim, len(v)) for k, v in LABELS.items()})
        self.levels = nn.Linear(dim, 5)

    def forward(self, embedding: Tensor, label: Tensor) -> Tensor:
        """Mean cross-entropy of an embedding (n, dim) over the labels (n, heads)."""
        unit = 10 * functional.normalize(embedding, dim=-1)
        heads = enumerate(self.attributes.values())
        parts = [functional.cross_entropy(head(unit), label[:, k]) for k, head in heads]
        return torch.stack(parts).mean()

    def damage(self, embedding: Tensor, score: Tensor) -> Tensor:
        """Cross-entropy to the two neighbouring levels of a quality (n,) in [1, 5]."""
        unit = 10 * functional.normalize(embedding, dim=-1)
        return functional.cross_entropy(self.levels(unit), soft_levels(score))


def train(
    work: Path, vae: AutoencoderKL, tokens: CLIPTokenizer, steps: int
) -> tuple[CLIPModel, float]:
    """Train on photos and styles, each with fresh captions, a share of them freshly damaged."""
    corpus, model = Corpus.load(work, "train"), build(tokens)
    helpers = Helpers(model.config.projection_dim)
    module = nn.ModuleDict({"clip": model, "helpers": helpers})
    good = corpus.where(degradation=None)

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        index = pick(good, BATCH, rng)
        where = np.arange(BATCH - DAMAGED, BATCH)
        x, kinds, level = generated(vae, corpus.pixels(index), where, rng)
        records = [
            corpus.records[i] | {"degradation": kind} for i, kind in zip(index, kinds, strict=True)
        ]
        ids = tokenize(tokens, captions(records, seed=step))
        label = torch.tensor([list(classes(r).values()) for r in records])
        with torch.autocast("cpu", torch.bfloat16):
            output = model(input_ids=ids, pixel_values=x * 2 - 1)
        image, text = output.image_embeds.float(), output.text_embeds.float()
        same = (ids[:, None] == ids[None]).all(-1)
        pairs = contrast(image, text, model.logit_scale, same)
        seen = helpers(image, label)
        read = helpers(text, label)
        value = pairs + 2 * seen + read + helpers.damage(image, truth(level))
        return value, {"contrast": float(pairs.detach()), "seen": float(seen.detach())}

    seconds = fit(name="clip", module=module, loss=loss, steps=steps, work=work, peak=1e-3)
    return model, seconds


def save(model: CLIPModel, tokens: CLIPTokenizer, folder: Path) -> None:
    """Write the layout that `CLIPModel.from_pretrained` reads, in half precision."""
    from transformers import CLIPImageProcessor

    model.half().save_pretrained(folder)
    model.float()
    tokens.save_pretrained(folder)
    size = {"height": 128, "width": 128}
    CLIPImageProcessor(
        size=size, crop_size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder)
