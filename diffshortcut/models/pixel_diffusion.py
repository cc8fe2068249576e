"""Pixel diffusion: an unconditional denoiser of images, with a learned variance (ADM, iDDPM).

The mini zoo holds it as a DDPMPipeline folder of diffusers, the full one as the release's own file
(guided_diffusion.py). Inside, images x are in [-1, 1] at the model's own resolution; `to_model` and
`to_images` are the way in and out. A timestep t is an index into the schedule, 0 ... T-1, and x_t
of index t has kept alpha_bar_t.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from diffshortcut.models.remembered import remembered
from diffshortcut.precision import Precision
from diffshortcut.weights import locate


@dataclass(frozen=True)
class Prediction:
    """What the denoiser takes x_t for: the clean image, and the Gaussian of x_{t-1}."""

    clean: Tensor
    mean: Tensor
    log_variance: Tensor


@dataclass(frozen=True)
class PixelDiffusion:
    """A UNet that gives noise and variance, and the schedule it samples on."""

    unet: UNet2DModel
    alpha_bar: Tensor  # (T,) float64
    timesteps: Tensor  # (T,) what the UNet was trained to hear at each index
    precision: Precision = Precision()

    @property
    def resolution(self) -> int:
        """The side in pixels of the images it was trained on."""
        return int(self.unet.config.sample_size)

    @property
    def device(self) -> torch.device:
        """Where the UNet computes."""
        return self.unet.device

    def respaced(self, count: int) -> "PixelDiffusion":
        """The same denoiser on `count` timesteps spread evenly over the schedule.

        An index then means another timestep: of 250 out of 1000, index 10 is timestep 40.
        """
        total = len(self.alpha_bar)
        if not 2 <= count <= total:
            raise ValueError(f"a schedule of {total} timesteps cannot be respaced to {count}")
        even = torch.arange(count, dtype=torch.float64, device="cpu")
        kept = (even * (total - 1) / (count - 1)).round().long()
        return replace(self, alpha_bar=self.alpha_bar[kept], timesteps=self.timesteps[kept])

    def to_model(self, images: Tensor) -> Tensor:
        """[0, 1] to [-1, 1]."""
        return images * 2 - 1

    def to_images(self, x: Tensor, *, clip: bool = True) -> Tensor:
        """[-1, 1] to [0, 1], clipped unless told not to."""
        images = x / 2 + 0.5
        return images.clamp(0, 1) if clip else images

    def q_sample(self, x: Tensor, t: Tensor | int, noise: Tensor) -> Tensor:
        """x_t = sqrt(alpha_bar_t) x + sqrt(1 - alpha_bar_t) noise, with t (n,) or one for all."""
        signal, sigma = self._rates(t, x)
        return signal * x + sigma * noise.to(x)

    def predict(self, x_t: Tensor, t: Tensor | int, *, clip: bool = True) -> Prediction:
        """The denoiser's view of x_t; the clean image is clipped to [-1, 1] unless told not to."""
        index = torch.as_tensor(t, device="cpu").expand(len(x_t))
        heard = self.timesteps[index].to(x_t.device)
        with self.precision.computing(self.device):
            noise, fraction = self.unet(x_t, heard).sample.to(x_t).chunk(2, dim=1)
        signal, sigma = self._rates(index, x_t)
        clean = (x_t - sigma * noise) / signal
        if clip:
            clean = clean.clamp(-1, 1)
        mean, smallest, largest = self.posterior(clean, x_t, index)
        between = (fraction + 1) / 2
        return Prediction(clean, mean, between * largest + (1 - between) * smallest)

    def posterior(self, clean: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean of q(x_{t-1} | x_t, clean), and the log variances between which the UNet chooses.

        The smaller is that of the posterior (at t = 0, where it is zero, that of t = 1), the
        larger beta_t.
        """
        before = torch.cat([self.alpha_bar.new_ones(1), self.alpha_bar[:-1]])
        beta = 1 - self.alpha_bar / before
        variance = beta * (1 - before) / (1 - self.alpha_bar)
        variance = torch.cat([variance[1:2], variance[1:]])
        of_clean = beta * before.sqrt() / (1 - self.alpha_bar)
        of_noisy = (1 - before) * (1 - beta).sqrt() / (1 - self.alpha_bar)
        mean = _column(of_clean[t], x_t) * clean + _column(of_noisy[t], x_t) * x_t
        return mean, _column(variance[t].log(), x_t), _column(beta[t].log(), x_t)

    def p_sample(self, x_t: Tensor, t: int, noise: Tensor) -> Tensor:
        """x_{t-1} given x_t, both (n, 3, h, w); at t = 0 the mean, without noise."""
        found = self.predict(x_t, t)
        if t == 0:
            return found.mean
        return found.mean + (found.log_variance / 2).exp() * noise.to(x_t)

    def _rates(self, t: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), whose difference float32 would lose."""
        kept = self.alpha_bar[t]
        return _column(kept.sqrt(), like), _column((1 - kept).sqrt(), like)


def _column(values: Tensor, like: Tensor) -> Tensor:
    """(n,) or () values that multiply images (n, 3, h, w)."""
    return values.to(like.device, like.dtype).reshape(-1, 1, 1, 1)


def load(*, weights: str, precision: Precision | None = None) -> PixelDiffusion:
    """The model of a weight reference (a DDPMPipeline folder), read once per process."""
    return _load(locate(weights), torch.get_default_device(), precision or Precision())


@remembered
def _load(folder: Path, device: torch.device, precision: Precision) -> PixelDiffusion:
    unet = UNet2DModel.from_pretrained(
        folder, subfolder="unet", local_files_only=True, use_safetensors=True
    )
    scheduler = DDPMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    unet = precision.prepare(unet.to(device, torch.float32).requires_grad_(False))
    return with_schedule(unet, scheduler, precision)


def with_schedule(
    unet: UNet2DModel, scheduler: DDPMScheduler, precision: Precision | None = None
) -> PixelDiffusion:
    """The model of a UNet and the betas of a scheduler."""
    with torch.device("cpu"):
        alpha_bar = torch.cumprod(1 - scheduler.betas.double(), 0)
        timesteps = torch.arange(len(alpha_bar))
        return PixelDiffusion(unet, alpha_bar, timesteps, precision or Precision())
