"""Every random draw of the project: named, reproducible, independent of batch size and order."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

Images = int | Sequence[int]  # the indices of a person's images, or how many of the first


@dataclass(frozen=True)
class Draws:
    """The draws of one stage for one person.

    A generator on the CPU is seeded by sha256 of (seed, stage, person, image, step, purpose), so a
    draw depends neither on the batch it is made for, nor on what was drawn before, nor on the
    global generator; arms of a comparison that share these names share their draws.
    """

    seed: int
    stage: str
    person: str
    first: int = 0  # the index, among the person's images, of the first that are drawn for

    def from_image(self, first: int) -> "Draws":
        """The draws of a batch whose images are the person's from index `first` on."""
        return replace(self, first=first)

    def scope(self, name: str) -> "Draws":
        """Draws of a part of this stage, such as an attack's surrogate."""
        return replace(self, stage=f"{self.stage}/{name}")

    def generator(self, purpose: str, image: int = 0, step: int = 0) -> Generator:
        """A CPU generator of its own; torch keeps 32 bits of the seed, so few are equal."""
        image += self.first
        name = json.dumps([self.seed, self.stage, self.person, image, step, purpose])
        digest = hashlib.sha256(name.encode()).digest()
        return Generator().manual_seed(int.from_bytes(digest[:8], "big"))

    def normal(self, purpose: str, shape: Sequence[int], images: Images, step: int = 0) -> Tensor:
        """Standard normal, one draw per image: (len(images), *shape)."""
        return self._stack(purpose, images, step, lambda g: torch.randn(tuple(shape), generator=g))

    def uniform(self, purpose: str, shape: Sequence[int], images: Images, step: int = 0) -> Tensor:
        """Uniform in [0, 1), one draw per image: (len(images), *shape)."""
        return self._stack(purpose, images, step, lambda g: torch.rand(tuple(shape), generator=g))

    def signs(self, purpose: str, shape: Sequence[int], images: Images, step: int = 0) -> Tensor:
        """+1.0 or -1.0 by a fair coin, one draw per image: (len(images), *shape)."""
        bits = self._stack(
            purpose, images, step, lambda g: torch.randint(2, tuple(shape), generator=g)
        )
        return bits * 2.0 - 1.0

    def integers(self, purpose: str, high: int, images: Images, step: int = 0) -> Tensor:
        """Uniform in 0 ... high-1, one per image: (len(images),) int64."""
        return self._stack(purpose, images, step, lambda g: torch.randint(high, (), generator=g))

    def permutation(self, purpose: str, size: int, step: int = 0) -> Tensor:
        """A random order of 0 ... size-1: (size,) int64."""
        with torch.device("cpu"):
            return torch.randperm(size, generator=self.generator(purpose, step=step))

    def _stack(
        self, purpose: str, images: Images, step: int, draw: Callable[[Generator], Tensor]
    ) -> Tensor:
        indices = range(images) if isinstance(images, int) else images
        with torch.device("cpu"):
            return torch.stack([draw(self.generator(purpose, image, step)) for image in indices])
