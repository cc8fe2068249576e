"""Face recognizers A (residual, ONNX) and B (VGG-like): additive angular margin over the people."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.loop import fit
from diffshortcut.models.geometry import align
from diffshortcut.progress import track

BATCH, SCALE, MARGIN = 96, 24.0, 0.35
CROP = 116  # the aligned crop is cut to 112 at a random place


class Margin(nn.Module):
    """ArcFace's head: the angle to the own class center is enlarged by MARGIN radians."""

    def __init__(self, dim: int, people: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.randn(people, dim) * 0.05)

    def forward(self, embedding: Tensor, label: Tensor, margin: float) -> Tensor:
        """Cross-entropy of SCALE * cos with the margin added to the true class."""
        cosine = (
            functional.normalize(embedding, dim=-1) @ functional.normalize(self.centers, dim=-1).T
        )
        angle = cosine.clamp(-0.999, 0.999).acos()
        own = functional.one_hot(label, len(self.centers)).bool()
        logits = torch.where(own & (angle < math.pi - margin), (angle + margin).cos(), cosine)
        return functional.cross_entropy(SCALE * logits, label)


def crops(corpus: Corpus, work: Path) -> tuple[Tensor, Tensor]:
    """Aligned crops (n, 3, 116, 116) uint8 of all photos, cached, and whose they are."""
    path, index = work / "crops.pt", corpus.where(style="photo")
    people = sorted({corpus.records[i]["person"] for i in index})
    label = torch.tensor([people.index(corpus.records[i]["person"]) for i in index])
    if not path.exists():
        out = torch.empty(len(index), 3, CROP, CROP, dtype=torch.uint8)
        for k, i in enumerate(track(index, "align", total=len(index))):
            points = torch.tensor(corpus.records[i]["points"])
            crop = align(corpus.pixels(index[k : k + 1])[0], points, CROP)
            out[k] = (crop * 255).round().to(torch.uint8)
        torch.save(out, path)
    return torch.load(path, weights_only=True, mmap=True), label


def augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """A random 112 px window, mirrored at times, with a little noise, gain and blur."""
    n = len(x)
    left, top = (int(v) for v in torch.randint(CROP - 111, (2,), generator=rng))
    x = x[..., top : top + 112, left : left + 112]
    mirror = torch.rand(n, 1, 1, 1, generator=rng) < 0.5
    x = torch.where(mirror, x.flip(-1), x)
    gain = 0.85 + 0.3 * torch.rand(n, 1, 1, 1, generator=rng)
    amount = 0.06 * torch.rand(n, 1, 1, 1, generator=rng) ** 2
    soft = functional.interpolate(functional.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear")
    x = torch.where(torch.rand(n, 1, 1, 1, generator=rng) < 0.25, soft, x)
    return (x * gain + amount * torch.randn(x.shape, generator=rng)).clamp(0, 1)


def train(work: Path, name: str, net: nn.Module, dim: int, steps: int) -> tuple[nn.Module, float]:
    """Train recognizer `name`; its margin grows over the first third."""
    corpus = Corpus.load(work, "train")
    images, label = crops(corpus, work)
    index = torch.arange(len(label)).numpy()
    module = nn.ModuleDict({"net": net, "head": Margin(dim, int(label.max()) + 1)})

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = torch.from_numpy(pick(index, BATCH, rng))
        x = augment(images[chosen].float() / 255, rng)
        with torch.autocast("cpu", torch.bfloat16):
            embedding = net(x * 2 - 1)
        margin = MARGIN * min(1.0, 3 * step / steps)
        return module["head"](embedding.float(), label[chosen], margin), {}

    seconds = fit(
        name=name,
        module=module,
        loss=loss,
        steps=steps,
        work=work,
        peak=2e-3,
        ema=0.99,
        decay=0.4,
        weight_decay=2e-2,
    )
    return net, seconds
