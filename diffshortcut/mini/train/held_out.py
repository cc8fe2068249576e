"""What the gates stand on: held-out portraits, the models' folders, and a few measures."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from diffshortcut.mini.train.corpus import Corpus
from diffshortcut.models import faces
from diffshortcut.models.geometry import align


@dataclass(frozen=True)
class Gate:
    """A measured figure beside what is asked."""

    name: str
    value: float
    asked: float
    at_least: bool = True

    @property
    def passed(self) -> bool:
        """Whether the figure is on the right side."""
        return self.value >= self.asked if self.at_least else self.value <= self.asked

    def __str__(self) -> str:
        sign, verdict = ">=" if self.at_least else "<=", "ok  " if self.passed else "MISS"
        return f"{verdict} {self.name}: {self.value:.3f} ({sign} {self.asked})"


Measure: TypeAlias = Callable[["HeldOut"], list[Gate]]


def psnr(a: Tensor, b: Tensor) -> float:
    """Mean over images of 10 log10(1 / mse), images in [0, 1]."""
    return float((-10 * (a - b).square().mean((1, 2, 3)).log10()).mean())


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order."""
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)].sum()
    n, m = len(positive), len(negative)
    return float((ranks - n * (n + 1) / 2) / (n * m))


def quarter(images: Tensor) -> Tensor:
    """Bicubic to a quarter of the size, as the upscaler's purifier does."""
    side = images.shape[-1] // 4
    small = functional.interpolate(images, size=(side, side), mode="bicubic", antialias=True)
    return small.clamp(0, 1)


def enlarged(images: Tensor, factor: int) -> Tensor:
    """Bicubic enlargement."""
    return functional.interpolate(images, scale_factor=factor, mode="bicubic").clamp(0, 1)


class HeldOut:
    """Held-out people's portraits and the recognizers that judge them."""

    def __init__(self, work: Path, weights: Path) -> None:
        self.work, self.weights = work, weights
        self.corpus = Corpus.load(work, "gate")
        self.photos = self.corpus.where(style="photo", degradation=None)

    def at(self, name: str) -> str:
        """The weight reference of a model."""
        return f"file:{self.weights / name}"

    def spread(self, count: int) -> np.ndarray:
        """Indices of `count` undamaged photos of different people."""
        return self.photos[:: max(1, len(self.photos) // count)][:count]

    def clean(self, count: int) -> Tensor:
        """`count` undamaged photos (n, 3, 128, 128)."""
        return self.corpus.pixels(self.spread(count))

    @cached_property
    def detector(self) -> faces.Detector:
        """The zoo's face detector."""
        return faces.load_detector(weights=self.at("detector"), size=128)

    def embeddings(self, recognizer: faces.Recognizer, images: Tensor, index: np.ndarray) -> Tensor:
        """(n, d), of crops aligned by the rendered landmarks of the photos `index`."""
        points = [torch.tensor(self.corpus.records[i]["points"]) for i in index]
        crops = [align(x, p, 112) for x, p in zip(images, points, strict=True)]
        return recognizer.embed(torch.stack(crops))

    def identity(self, images: Tensor, index: np.ndarray) -> float:
        """Mean cosine, by recognizer A, of images to the photos `index` that they came from."""
        net = faces.load_recognizer_a(weights=self.at("recognizer_a"))
        pair = [self.embeddings(net, x, index) for x in (images, self.corpus.pixels(index))]
        return float((pair[0] * pair[1]).sum(1).mean())
