"""GrIDPure (Zhao et al. 2024): small steps of DiffPure on overlapping windows, again and again."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.pictures.images import cropped, grown
from diffshortcut.progress import track
from diffshortcut.purifiers.diffpure import DiffPure, Noise, check_steps
from diffshortcut.purifiers.storage import check_storage, clips, stored
from diffshortcut.purifiers.windows import Windows
from diffshortcut.seeding import Draws

WINDOW = 256  # pixels: the published model's resolution, for which the stride is given


@dataclass(frozen=True, kw_only=True)
class GridPure:
    """x <- (1 - gamma) DiffPure(x, t) + gamma x, `iterations` times; windows are averaged.

    Windows are as large as the model's pictures; `stride` is in pixels for a model of 256 pixels.
    """

    diffpure: DiffPure
    t: int
    gamma: float
    iterations: int
    stride: int
    corner_window: bool
    storage: str = "float"  # between iterations: float, uint8, truncated or wrapped
    float_iterate: bool = False  # store what the model sees and the result, but not x

    def __post_init__(self) -> None:
        check_storage(self.storage)
        check_steps(self.t)
        if not 0 <= self.gamma <= 1 or self.iterations < 1:
            raise ValueError("gamma must be between 0 and 1, iterations at least 1")
        if not 1 <= self.stride <= WINDOW:
            raise ValueError(f"stride must be between 1 and {WINDOW}: windows must cover the image")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1] at the same size."""
        windows = self.windows
        kept, seen = ("float", self.storage) if self.float_iterate else (self.storage, "float")
        x = grown(images, least=windows.size)
        for iteration in track(range(self.iterations), "gridpure"):
            cut = windows.cut(stored(x, seen))
            noise = _noise(draws.scope(f"iteration {iteration}"), cut)
            purified = self.diffpure(cut.flatten(0, 1), self.t, noise, clip=clips(self.storage))
            merged = windows.merge(purified.view_as(cut), x.shape)
            x = stored((1 - self.gamma) * merged + self.gamma * x, kept)
        return cropped(stored(x, seen), images).clamp(0, 1)

    @property
    def windows(self) -> Windows:
        """Scaled to the model's resolution."""
        size = self.diffpure.resolution
        return Windows(size, max(1, round(self.stride * size / WINDOW)), self.corner_window)


def _noise(draws: Draws, cut: Tensor) -> Noise:
    """A draw of its own for each image, for all of its windows at once."""
    return lambda purpose, step: draws.normal(purpose, cut.shape[1:], len(cut), step).flatten(0, 1)
