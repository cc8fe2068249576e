"""What a purifier is, and what it may offer to an attack that goes through it."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from diffshortcut.seeding import Draws


class Purifier(Protocol):
    """One link of a purification.

    Photos of any size are shrunk to the models' side for a link with a model, and for one whose
    class says `at_model_size`, as what is too slow for whole photos does.
    """

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1], purified, at the same size."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A link with a gradient; a sampler is unrolled for `steps` steps."""

    def __call__(self, images: Tensor, draws: Draws) -> Tensor: ...

    def with_gradient(self, images: Tensor, draws: Draws, *, steps: int) -> Tensor: ...


@runtime_checkable
class Sampling(Protocol):
    """A link that samples: how wrong its denoiser is about `original`, given `images`, (n,)."""

    def __call__(self, images: Tensor, draws: Draws) -> Tensor: ...

    def trajectory_loss(self, images: Tensor, original: Tensor, draws: Draws) -> Tensor: ...


@runtime_checkable
class Noting(Protocol):
    """A link that notes its steps, the newest call's; `stages/purify.py` keeps the notes."""

    history: list[dict[str, float]]

    def __call__(self, images: Tensor, draws: Draws) -> Tensor: ...
