"""The LIQE role: a head on CLIP's image features that reads the level of degradation, 1 to 5."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel

from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.loop import fit
from diffshortcut.models.nets import QualityHead

BATCH = 64


def truth(record: dict) -> float:
    """5 for an undamaged picture, down to 1 for the heaviest damage."""
    return 5.0 - 4.0 * record["level"]


def soft_levels(score: Tensor) -> Tensor:
    """A score in [1, 5] as weights (n, 5) of its two neighbouring levels."""
    return (1 - (score[:, None] - torch.arange(1.0, 6.0)).abs()).clamp(min=0)


@torch.no_grad()
def features(clip: CLIPModel, x: Tensor) -> Tensor:
    """CLIP's image features of images in [0, 1]."""
    return clip.get_image_features(pixel_values=x * 2 - 1).pooler_output


def train(work: Path, clip: CLIPModel, steps: int) -> tuple[nn.Module, float]:
    """Cross-entropy to the two neighbouring levels, undamaged and damaged half and half."""
    corpus, head = Corpus.load(work, "train"), QualityHead(dim=clip.config.projection_dim)
    good = corpus.where(degradation=None, style="photo")
    bad = [i for i, r in enumerate(corpus.records) if r["degradation"] and r["style"] == "photo"]
    bad_index = torch.tensor(bad).numpy()
    target = torch.tensor([truth(r) for r in corpus.records])

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        index = torch.cat(
            [torch.from_numpy(pick(part, BATCH // 2, rng)) for part in (good, bad_index)]
        )
        logits = head.logits(features(clip, corpus.pixels(index.numpy())))
        return functional.cross_entropy(logits, soft_levels(target[index])), {}

    seconds = fit(
        name="quality",
        module=head,
        loss=loss,
        steps=steps,
        work=work,
        peak=3e-3,
        ema=0.98,
        decay=0.5,
    )
    return head, seconds
