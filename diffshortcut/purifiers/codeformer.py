"""Face restoration with CodeFormer (Algorithm 2, first half)."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.models.restorer import Restorer
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class CodeFormer:
    """Restore every face found and paste it back; `fidelity` is CodeFormer's w in [0, 1].

    A restorer of aligned portraits, as the mini zoo's, takes the whole image for the face.
    """

    restorer: Restorer
    fidelity: float

    def __post_init__(self) -> None:
        if not 0 <= self.fidelity <= 1:
            raise ValueError(f"fidelity must be between 0 and 1, not {self.fidelity}")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1] at the same size; if none is found, the image stays as it is."""
        return self.restorer(images, fidelity=self.fidelity)

    def with_gradient(self, images: Tensor, draws: Draws, *, steps: int) -> Tensor:
        """The same; the gradient passes the codes as if they were their mean, and the features."""
        return self.restorer(images, fidelity=self.fidelity, straight_through=True)
