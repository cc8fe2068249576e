"""The pixel diffusion model: guided-diffusion's architecture, small, 64 px, unconditional.

64 px stands to the zoo's 128 as 256 to 512 in the full zoo: whole pictures are shrunk to it, and
purifiers lay it over a picture as windows. So it learns both, but windows only at timesteps below
400: a sample begins as a whole portrait. Noise and variance are learned as in iDDPM (Nichol &
Dhariwal 2021): the squared error of the noise, and the variational bound for the variance alone.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor

from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.loop import fit
from diffshortcut.models import guided_diffusion
from diffshortcut.models.pixel_diffusion import PixelDiffusion, with_schedule
from diffshortcut.pictures.images import resize

SIZE, BATCH = 64, 32
WINDOWS_BELOW, WINDOWS = 400, 0.5  # timesteps, and the share of windows there
WIDTHS = (24, 40, 64, 64)
FLAT_BELOW, FLAT = 150, 0.2  # timesteps with windows of one color, and their share there
GAMMA, LEAST, MOST = 5.0, 0.1, 30.0  # of the error's weight


def build() -> UNet2DModel:
    """The untrained UNet; attention at 16 and 8 px, three channels of noise, three of variance."""
    torch.manual_seed(0)
    return guided_diffusion.build(
        attentive=2,
        sample_size=SIZE,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        attention_head_dim=32,
        norm_num_groups=8,
    )


def scheduler() -> DDPMScheduler:
    """ADM's: linear, 0.0001 to 0.02, 1000 steps."""
    return DDPMScheduler(beta_schedule="linear", variance_type="learned_range")


def shown(corpus: Corpus, index: np.ndarray, t: Tensor, rng: torch.Generator) -> Tensor:
    """(n, 3, SIZE, SIZE) in [0, 1]: whole pictures, and windows of them for small t; mirrored."""
    x = corpus.pixels(pick(index, len(t), rng))
    x = torch.where(torch.rand(len(t), 1, 1, 1, generator=rng) < 0.5, x, x.flip(-1))
    windows = (t < WINDOWS_BELOW) & (torch.rand(len(t), generator=rng) < WINDOWS)
    corner = torch.randint(x.shape[-1] - SIZE + 1, (len(t), 2), generator=rng).tolist()
    whole = resize(x, SIZE)
    return torch.stack(
        [
            image[:, i : i + SIZE, j : j + SIZE] if window else small
            for image, small, window, (i, j) in zip(x, whole, windows, corner, strict=True)
        ]
    )


def flattened(x: Tensor, t: Tensor, rng: torch.Generator) -> Tensor:
    """`x`, or for small t at times a single color, pure black and white too.

    A photo's background often is one. Not at larger t, where samples would end as one: there a
    dark portrait and black cannot be told apart yet.
    """
    flat = (t < FLAT_BELOW) & (torch.rand(len(t), generator=rng) < FLAT)
    color = (torch.rand(len(t), 3, 1, 1, generator=rng) * 1.2 - 0.1).clamp(0, 1)
    return torch.where(flat[:, None, None, None], color, x)


def error_weight(alpha_bar: Tensor) -> Tensor:
    """Of the noise's squared error at each timestep.

    Min-SNR's, but at least LEAST, for purifiers need the early steps too; and where there is more
    noise than picture, that of the clean image's error, at most MOST: with min-SNR's alone samples
    drifted in brightness, and one in sixteen was black.
    """
    inverse = (1 - alpha_bar) / alpha_bar  # 1 / SNR
    return torch.maximum((GAMMA * inverse).clamp(LEAST, 1), inverse.clamp(max=MOST)).float()


def objective(model: PixelDiffusion, x: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) each: squared error of the noise, and the bound on the variance, given the mean."""
    x_t = model.q_sample(x, t, noise)
    found = model.predict(x_t, t, clip=False)
    kept = model.alpha_bar[t].to(x).reshape(-1, 1, 1, 1)
    # the clean image and the noise are two views of one output
    error = (found.clean - x).square() * kept / (1 - kept)
    true, log_variance, _ = model.posterior(x, x_t, t)
    bound = (true - found.mean.detach()).square() + log_variance.exp()
    bound = (bound * (-found.log_variance).exp() + found.log_variance - log_variance - 1) / 2
    return error.mean((1, 2, 3)), bound.mean((1, 2, 3))


def train(work: Path, steps: int) -> tuple[UNet2DModel, float]:
    """Train it on undamaged photos, in bfloat16 products."""
    corpus, unet = Corpus.load(work, "train"), build()
    index = corpus.where(style="photo", degradation=None)
    model = with_schedule(unet, scheduler())
    weight = error_weight(model.alpha_bar)

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        t = torch.randint(1000, (BATCH,), generator=rng)
        x = model.to_model(flattened(shown(corpus, index, t, rng), t, rng))
        noise = torch.randn(x.shape, generator=rng)
        with torch.autocast("cpu", torch.bfloat16):
            error, bound = objective(model, x, t, noise)
        weighted = weight[t] * error + bound
        return weighted.mean(), {"mse": float(error.detach().mean())}

    seconds = fit(
        name="pixel",
        module=unet,
        loss=loss,
        steps=steps,
        work=work,
        peak=1e-3,
        decay=0.4,
        ema=0.999,
        weight_decay=0.0,
    )
    return unet, seconds


def save(unet: UNet2DModel, folder: Path) -> None:
    """Write a DDPMPipeline folder that plain diffusers loads, in half precision."""
    pipeline = DDPMPipeline(unet=unet, scheduler=scheduler())
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(torch.float32)
