"""The independent judge: a classifier of attributes, used by the gates and by nothing else."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.labels import LABELS, classes
from diffshortcut.mini.train.loop import fit
from diffshortcut.models.nets import conv_block

BATCH = 64
HEADS = {name: LABELS[name] for name in LABELS if name != "degradation"}


def labels(record: dict) -> list[int]:
    """The class of each head."""
    found = classes(record)
    return [found[name] for name in HEADS]


class Judge(nn.Module):
    """A plain convolutional net with one linear head per attribute, 0.4 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 96, 128)
        pairs = zip(widths[:-1], widths[1:], strict=True)
        self.trunk = nn.Sequential(
            *(nn.Sequential(conv_block(a, b, stride=2), conv_block(b, b)) for a, b in pairs)
        )
        self.heads = nn.ModuleDict({k: nn.Linear(128 * 16, len(v)) for k, v in HEADS.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (n, 3, 128, 128) in [0, 1] to logits per attribute."""
        features = self.trunk(x * 2 - 1).flatten(1)
        return {name: head(features) for name, head in self.heads.items()}


def train(work: Path, steps: int) -> tuple[Judge, float]:
    """Train on everything undamaged, with a little noise and blur."""
    corpus, judge = Corpus.load(work, "train"), Judge()
    index = corpus.where(degradation=None)
    truth = {int(i): torch.tensor(labels(corpus.records[i])) for i in index}

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = pick(index, BATCH, rng)
        x = corpus.pixels(chosen)
        soft = functional.interpolate(
            functional.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear"
        )
        x = torch.where(torch.rand(BATCH, 1, 1, 1, generator=rng) < 0.4, soft, x)
        x = x + 0.04 * torch.rand(BATCH, 1, 1, 1, generator=rng) * torch.randn(
            x.shape, generator=rng
        )
        label = torch.stack([truth[int(i)] for i in chosen])
        with torch.autocast("cpu", torch.bfloat16):
            outputs = judge(x)
        parts = [
            functional.cross_entropy(o.float(), label[:, k]) for k, o in enumerate(outputs.values())
        ]
        return torch.stack(parts).sum(), {}

    seconds = fit(
        name="judge",
        module=judge,
        loss=loss,
        steps=steps,
        work=work,
        peak=2e-3,
        ema=0.99,
        decay=0.4,
    )
    return judge, seconds
