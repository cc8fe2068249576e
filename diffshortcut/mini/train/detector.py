"""The face detector: portraits, cut, shrunk and shifted, and backgrounds without a face."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.loop import fit
from diffshortcut.models.nets import DetectorNet, anchor_centers, decode

BATCH, SIZE = 48, 128
SCALES = ((8, 0, 32), (16, 32, 64), (32, 64, 400))  # stride, smallest and largest face in pixels


def place(x: Tensor, boxes: Tensor, points: Tensor, rng: torch.Generator) -> tuple[Tensor, ...]:
    """Each image zoomed by 0.35-1.25 and shifted over its reflection; labels follow."""
    n = len(x)
    zoom = 0.35 + 0.9 * torch.rand(n, generator=rng)
    shift = (torch.rand(n, 2, generator=rng) - 0.5) * (SIZE * (zoom - 1).abs())[:, None]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / zoom
    theta[:, :, 2] = -2 * shift / SIZE / zoom[:, None]
    grid = functional.affine_grid(theta, [n, 3, SIZE, SIZE], align_corners=False)
    out = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    center = torch.full((2,), (SIZE - 1) / 2)

    def move(p: Tensor) -> Tensor:
        return (p - center) * zoom[:, None, None] + center + shift[:, None]

    return out, move(boxes.view(n, 2, 2)).reshape(n, 4), move(points)


def empty(x: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures without a face: shuffled 16 px blocks of portraits, upper corners, or noise."""
    n = len(x)
    blocks = x.unfold(2, 16, 16).unfold(3, 16, 16).reshape(n, 3, 64, 16, 16)
    order = torch.randperm(64, generator=rng)
    mixed = blocks[:, :, order].reshape(n, 3, 8, 8, 16, 16).permute(0, 1, 2, 4, 3, 5)
    corner = functional.interpolate(x[..., :28, :24], size=(SIZE, SIZE), mode="bilinear")
    noise = torch.rand(n, 3, SIZE, SIZE, generator=rng)
    kinds = torch.stack([mixed.reshape(n, 3, SIZE, SIZE), corner, noise])
    return kinds[torch.randint(3, (n,), generator=rng), torch.arange(n)]


def assign(boxes: Tensor) -> Tensor:
    """(n, 672) bool: anchors near the face's center at the stride that fits its size."""
    center, side = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).amax(1)
    masks = []
    for stride, low, high in SCALES:
        cells = anchor_centers(SIZE, stride)
        near = (cells[None] - center[:, None]).abs().amax(-1) <= 1.0 * stride
        masks.append(near & ((side >= low) & (side < high))[:, None])
    return torch.cat(masks, 1)


def losses(net: DetectorNet, x: Tensor, boxes: Tensor, points: Tensor, face: Tensor) -> Tensor:
    """Focal loss of the scores + L1 of boxes and points in units of the face's size."""
    raw = net.raw((x * 255 - 127.5) / 128)
    logits = torch.cat([score for score, _, _ in raw], 1)[..., 0]
    scores, boxes_raw, points_raw = zip(*raw, strict=True)
    _, found, marks = decode((*scores, *boxes_raw, *points_raw), SIZE)
    positive = assign(boxes) & face[:, None]
    cross = functional.binary_cross_entropy_with_logits(logits, positive.float(), reduction="none")
    focal = (cross * (1 - torch.exp(-cross)) ** 2).sum() / positive.sum().clamp(min=1)
    side = (boxes[:, 2:] - boxes[:, :2]).amax(1)[:, None, None]
    near = ((found - boxes[:, None]).abs() / side)[positive].mean()
    mark = ((marks - points[:, None]).abs() / side[..., None])[positive].mean()
    return focal + 4 * near + 4 * mark


def train(work: Path, steps: int) -> tuple[DetectorNet, float]:
    """Train on all styles and degradations; a fifth of the pictures holds no face."""
    corpus, net = Corpus.load(work, "train"), DetectorNet()
    everything = np.arange(len(corpus.images))
    boxes = torch.tensor([r["box"] for r in corpus.records])
    points = torch.tensor([r["points"] for r in corpus.records])

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        index = pick(everything, BATCH, rng)
        x, box, point = place(corpus.pixels(index), boxes[index], points[index], rng)
        face = torch.rand(BATCH, generator=rng) > 0.2
        x = torch.where(face[:, None, None, None], x, empty(x, rng))
        return losses(net, x, box, point, face), {}

    seconds = fit(
        name="detector",
        module=net,
        loss=loss,
        steps=steps,
        work=work,
        peak=2e-3,
        ema=0.99,
        decay=0.4,
    )
    return net, seconds
