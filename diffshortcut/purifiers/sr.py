"""Super-resolution with a diffusion model (Algorithm 2, second half)."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.images import resize
from diffshortcut.models.upscaler import Upscaler
from diffshortcut.seeding import Draws

FACTOR = 4


@dataclass(frozen=True, kw_only=True)
class SuperResolution:
    """Shrink by 4, which averages the perturbation away, then let the model draw the details."""

    upscaler: Upscaler
    prompt: str
    steps: int
    guidance: float
    noise_level: int
    micro_batch: int | None = None  # images in memory at once

    def __post_init__(self) -> None:
        if self.steps < 1 or self.noise_level < 0:
            raise ValueError("steps must be at least 1 and noise_level at least 0")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1] at the same size."""
        h, w = images.shape[-2:]
        upscaled = self.upscaler(
            resize(images, (h // FACTOR, w // FACTOR)),
            prompt=self.prompt,
            steps=self.steps,
            guidance=self.guidance,
            noise_level=self.noise_level,
            draws=draws,
            micro_batch=self.micro_batch,
        )
        return resize(upscaled, (h, w))
