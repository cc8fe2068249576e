"""Super-resolution with a diffusion model (Algorithm 2, second half)."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diffshortcut.models.upscaler import Upscaler
from diffshortcut.pictures.images import fraction, grown, resize
from diffshortcut.seeding import Draws

FACTOR = 4
LEAST = 8  # pixels that the nets can halve as often as they do


@dataclass(frozen=True, kw_only=True)
class SuperResolution:
    """Shrink, which averages the perturbation away, then let the model draw the details.

    The model enlarges by 4; the result is brought back to the size of the images.
    """

    upscaler: Upscaler
    prompt: str
    steps: int
    guidance: float  # w + 1 of Eq. 6, as in diffusers
    noise_level: int
    shrink: int = FACTOR
    micro_batch: int | None = None  # images in memory at once

    def __post_init__(self) -> None:
        if min(self.steps, self.shrink) < 1 or min(self.noise_level, self.guidance) < 0:
            raise ValueError("steps and shrink must be at least 1, noise_level and guidance 0")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1] at the same size."""
        upscaled = self.enlarged(resize(images, fraction(images, self.shrink)), draws)
        return resize(upscaled, (images.shape[-2], images.shape[-1]))

    def enlarged(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) to (n, 3, 4h, 4w)."""
        height, width = images.shape[-2:]
        enlarged = self.upscaler(
            grown(images, least=LEAST, multiple=FACTOR),  # else the pipeline drops columns
            **self._options(draws, self.steps),
            micro_batch=self.micro_batch,
        )
        return enlarged[..., : FACTOR * height, : FACTOR * width]

    def with_gradient(self, images: Tensor, draws: Draws, *, steps: int) -> Tensor:
        """The same in `steps` unrolled steps of the sampler, which carry the gradient."""
        upscaled = self.upscaler.unrolled(
            resize(images, fraction(images, self.shrink)), **self._options(draws, steps)
        )
        return resize(upscaled, (images.shape[-2], images.shape[-1]))

    def trajectory_loss(self, images: Tensor, original: Tensor, draws: Draws) -> Tensor:
        """(n,) the guided denoiser's error about `original`, given the `images` shrunk.

        At a random timestep of the sampler's own; the gradient reaches both.
        """
        low = resize(images, fraction(images, self.shrink))
        high = resize(original, (FACTOR * low.shape[-2], FACTOR * low.shape[-1]))
        return self.upscaler.trajectory_loss(low, high, **self._options(draws, self.steps))

    def _options(self, draws: Draws, steps: int) -> dict[str, Any]:
        return {
            "draws": draws,
            "steps": steps,
            "prompt": self.prompt,
            "guidance": self.guidance,
            "noise_level": self.noise_level,
        }
