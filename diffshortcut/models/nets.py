"""The mini zoo's own small nets: face detector, face recognizers A and B, picture quality.

They keep the interface of the full zoo's nets (SCRFD, ArcFace, VGG-Face, LIQE), so that nothing
above the loaders can tell the two zoos apart. How to train and export them: `mini/`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from diffshortcut.models.remembered import remembered

Net = TypeVar("Net", bound=nn.Module)
STRIDES = (8, 16, 32)
ANCHORS = 2  # per cell, as in SCRFD


def load_net(kind: type[Net], folder: Path) -> Net:
    """A net from config.json (its constructor's arguments) and model.safetensors, frozen.

    Equal calls give the same net.
    """
    return _loaded(folder, kind, torch.get_default_device())


@remembered
def _loaded(folder: Path, kind: type[Net], device: torch.device) -> Net:
    net = kind(**json.loads((folder / "config.json").read_text()))
    net.load_state_dict(load_file(folder / "model.safetensors"))
    return net.to(device).eval().requires_grad_(False)


def conv_block(inputs: int, outputs: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class DetectorHead(nn.Module):
    """Scores, boxes and points of one pyramid level, two anchors a cell."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.tower = conv_block(width, width)
        self.score = nn.Conv2d(width, ANCHORS, 3, 1, 1)
        self.box = nn.Conv2d(width, ANCHORS * 4, 3, 1, 1)
        self.point = nn.Conv2d(width, ANCHORS * 10, 3, 1, 1)
        # faces are rare: start near p = 0.02
        self.score.bias = nn.Parameter(torch.full((ANCHORS,), -4.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (n, width, h, w) to logits (n, A, 1), boxes (n, A, 4), points (n, A, 10)."""
        x = self.tower(x)
        boxes = functional.softplus(self.box(x))
        return _anchors(self.score(x), 1), _anchors(boxes, 4), _anchors(self.point(x), 10)


def _anchors(x: Tensor, size: int) -> Tensor:
    """(n, ANCHORS * size, h, w) to (n, h * w * ANCHORS, size): row by row, anchors innermost."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, size)


class DetectorNet(nn.Module):
    """A small anchor-free face detector with the outputs of SCRFD's ONNX files.

    Input (n, 3, S, S), RGB, (x - 127.5) / 128 of 8-bit values, S a multiple of 32. Nine outputs:
    scores at strides 8, 16, 32 (n, A, 1) in [0, 1], then boxes (n, A, 4) = distances to left, top,
    right, bottom, then points (n, A, 10) = x, y offsets of left eye, right eye, nose, left and
    right mouth corner (left in the image); all in units of the stride, measured from the
    cell's top left corner (column * stride, row * stride). A = 2 (S / stride)^2.
    """

    def __init__(self, *, width: int = 40) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_block(3, 16, stride=2), conv_block(16, 24, stride=2), conv_block(24, 24)
        )
        self.down = nn.ModuleList(
            nn.Sequential(conv_block(inputs, width, stride=2), conv_block(width, width))
            for inputs in (24, width, width)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in STRIDES)
        self.heads = nn.ModuleList(DetectorHead(width=width) for _ in STRIDES)

    def features(self, x: Tensor) -> list[Tensor]:
        """Feature pyramid: (n, width, S/8, S/8), (.., S/16, S/16), (.., S/32, S/32)."""
        x, levels = self.stem(x), []
        for down in self.down:
            x = down(x)
            levels.append(x)
        merged = [lateral(level) for lateral, level in zip(self.lateral, levels, strict=True)]
        for i in (1, 0):
            merged[i] = merged[i] + functional.interpolate(merged[i + 1], scale_factor=2.0)
        return merged

    def raw(self, x: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Per stride (score LOGITS, boxes, points): what a training loss wants."""
        return [head(f) for head, f in zip(self.heads, self.features(x), strict=True)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The nine outputs in SCRFD's order."""
        scores, boxes, points = zip(*self.raw(x), strict=True)
        return (*(s.sigmoid() for s in scores), *boxes, *points)


def anchor_centers(size: int, stride: int) -> Tensor:
    """(A, 2) x, y in pixels of the anchors of one stride, in the order of the outputs."""
    steps = torch.arange(size // stride, dtype=torch.float32) * stride
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2).repeat_interleave(ANCHORS, 0)


def decode(outputs: tuple[Tensor, ...], size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Nine outputs to scores (n, A), boxes (n, A, 4) xyxy and points (n, A, 5, 2) in pixels.

    A counts the anchors of all strides. Accepts (n, a, k) and, as SCRFD's files give for n = 1,
    (a, k) outputs. Differentiable.
    """
    scores, boxes, points = [], [], []
    for level, stride in enumerate(STRIDES):
        center = anchor_centers(size, stride).to(outputs[0])
        score, box, point = (outputs[level + 3 * kind] for kind in range(3))
        scores.append(score.reshape(-1, len(center)))
        box = box.reshape(-1, len(center), 4) * stride
        boxes.append(torch.cat([center - box[..., :2], center + box[..., 2:]], -1))
        point = point.reshape(-1, len(center), 5, 2) * stride
        points.append(center[:, None] + point)
    return torch.cat(scores, 1), torch.cat(boxes, 1), torch.cat(points, 1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, PReLU as in ArcFace's residual nets."""

    def __init__(self, *, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        return self.act(self.body(x) + self.shortcut(x))


class RecognizerANet(nn.Module):
    """Residual face recognizer A: aligned faces (n, 3, 112, 112) in [-1, 1] RGB to (n, 512).

    The embedding is NOT normalized, as in ArcFace's ONNX files: normalize it before a cosine.
    """

    size = 112

    def __init__(self, *, width: int = 32, dim: int = 512) -> None:
        super().__init__()
        block, w = ResidualBlock, width
        self.trunk = nn.Sequential(
            conv_block(3, 24, stride=2),
            block(inputs=24, outputs=w, stride=2),
            block(inputs=w, outputs=2 * w, stride=2),
            block(inputs=2 * w, outputs=2 * w, stride=1),
            block(inputs=2 * w, outputs=4 * w, stride=2),
            block(inputs=4 * w, outputs=4 * w, stride=1),
        )
        # a weight per place instead of average pooling: where a feature lies matters in a face
        self.pool = nn.Conv2d(4 * w, 4 * w, 7, groups=4 * w, bias=False)
        self.project = nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(4 * w), nn.Linear(4 * w, dim, bias=False)
        )
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 112, 112) in [-1, 1] to (n, 512)."""
        return self.norm(self.project(self.pool(self.trunk(x))))


class RecognizerBNet(nn.Module):
    """VGG-like face recognizer B: aligned faces (n, 3, 112, 112) in [-1, 1] RGB to (n, 256).

    Its convolutional trunk takes any size and gives the four feature levels of the
    perceptual distance (`models/perceptual.py`).
    """

    size = 112

    def __init__(self, *, width: int = 16, dim: int = 256) -> None:
        super().__init__()
        w = width
        self.levels = nn.ModuleList(
            [
                conv_block(3, w),
                nn.Sequential(conv_block(w, 2 * w), conv_block(2 * w, 2 * w)),
                nn.Sequential(conv_block(2 * w, 4 * w), conv_block(4 * w, 4 * w)),
                nn.Sequential(conv_block(4 * w, 8 * w), conv_block(8 * w, 8 * w)),
            ]
        )
        self.top = nn.Sequential(nn.MaxPool2d(2), conv_block(8 * w, 8 * w), nn.MaxPool2d(2))
        self.project = nn.Linear(8 * w * 9, dim)
        self.norm = nn.BatchNorm1d(dim)

    def features(self, x: Tensor) -> list[Tensor]:
        """Four levels (n, 16, h, w), (n, 32, h/2, w/2), (n, 64, h/4, w/4), (n, 128, h/8, w/8)."""
        found = []
        for i, level in enumerate(self.levels):
            x = level(functional.max_pool2d(x, 2) if i else x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 112, 112) in [-1, 1] to (n, 256), not normalized."""
        return self.norm(self.project(self.top(self.features(x)[-1]).flatten(1)))


class QualityNet(nn.Module):
    """LIQE's role: images (n, 3, h, w) in [0, 1] to a quality in [1, 5].

    As in LIQE the score is the expectation of the levels 1 (bad) to 5 (perfect) under a softmax.
    Mean and deviation over the places tell grain and sharpness whatever the picture shows.
    """

    levels: Tensor

    def __init__(self, *, widths: Sequence[int] = (24, 32, 64, 96)) -> None:
        super().__init__()
        pairs = zip((3, *widths[:-1]), widths, strict=True)
        blocks = (nn.Sequential(conv_block(a, b, stride=2), conv_block(b, b)) for a, b in pairs)
        self.trunk = nn.Sequential(*blocks)
        self.head = nn.Linear(2 * widths[-1], 5)
        self.register_buffer("levels", torch.arange(1.0, 6.0), persistent=False)

    def logits(self, images: Tensor) -> Tensor:
        """(n, 5) over the levels, for a cross-entropy."""
        features = self.trunk(images * 2 - 1).flatten(2)
        return self.head(torch.cat([features.mean(2), features.std(2)], 1))

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) to (n,) in [1, 5]."""
        return self.logits(images).softmax(-1) @ self.levels
