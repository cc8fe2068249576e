"""The VAE of the latent diffusion models: 128 px, f = 8, four latent channels, as SD's.

L1 + gradient (Sobel) loss + a tiny KL term, and a share of the batches with noise added, so that
the VAE passes noise on instead of absorbing it: a VAE that denoises would itself be a defense.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.functional import avg_pool2d

from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.loop import fit

BATCH = 8
WIDTHS = (16, 32, 64, 128)  # four levels: f = 8, 2.7 M parameters


def build(widths: Sequence[int] = WIDTHS, groups: int = 8) -> AutoencoderKL:
    """An untrained autoencoder, f = 2 ^ (levels - 1); its posteriors start narrow.

    Few channels per normalization group wipe colors out, above all on crops.
    """
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=128,
        layers_per_block=1,
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        block_out_channels=list(widths),
        norm_num_groups=groups,
        scaling_factor=1.0,
    )
    narrow(vae)
    return vae


def narrow(vae: AutoencoderKL) -> None:
    """Posteriors of std exp(-3) at first: noise as large as the latents slows learning."""
    with torch.no_grad():
        vae.quant_conv.bias[vae.config.latent_channels :] = -6


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    """Horizontal and vertical differences of neighbouring pixels."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def reconstruction(output: Tensor, target: Tensor) -> Tensor:
    """L1 + L2 + the L1 of the differences; images in [-1, 1]."""
    along, across = (
        (a - b).abs().mean() for a, b in zip(edges(output), edges(target), strict=True)
    )
    return (output - target).abs().mean() + (output - target).square().mean() + along + across


def decibels(output: Tensor, target: Tensor) -> float:
    """PSNR of a batch as a whole; images in [-1, 1]."""
    return float(10 * (4 / (output - target).detach().square().mean()).log10())


def objective(
    vae: AutoencoderKL, x: Tensor, rng: torch.Generator, coarse: float = 0.0
) -> tuple[Tensor, dict[str, float]]:
    """Reconstruction of a sample of the posterior + 1e-3 KL, and the PSNR; images in [-1, 1].

    `coarse` weighs the L1 of 4x4 averages: without it edges may take the channels of a color axis.
    """
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(x).latent_dist
        z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=rng)
        output = vae.decode(z).sample.float()
    kl = posterior.kl().mean() / x[0].numel()
    value = reconstruction(output, x) + coarse * avg_pool2d(output - x, 4).abs().mean()
    return value + 1e-3 * kl, {"psnr": decibels(output, x)}


@torch.no_grad()
def passed(vae: AutoencoderKL, x: Tensor, every: int) -> Tensor:
    """Images (n, 3, h, w) in [0, 1], each `every`-th of them once through the autoencoder.

    Whatever judges generations must know the decoder's softness, or it takes it for damage.
    """
    x = x.clone()
    with torch.autocast("cpu", torch.bfloat16):
        output = vae.decode(vae.encode(x[::every] * 2 - 1).latent_dist.mode()).sample
    x[::every] = (output.float() / 2 + 0.5).clamp(0, 1)
    return x


@torch.no_grad()
def set_scale(vae: AutoencoderKL, corpus: Corpus, index: np.ndarray, count: int) -> None:
    """Scaling factor = 1 / std of the latents of about `count` images, as SD's was found."""
    sample = corpus.pixels(index[:: max(1, len(index) // count)]) * 2 - 1
    z = torch.cat([vae.encode(part).latent_dist.mean for part in sample.split(32)])
    vae.register_to_config(scaling_factor=round(float(1 / z.std()), 5))


def train(work: Path, steps: int) -> tuple[AutoencoderKL, float]:
    """Train on the whole corpus, a quarter of each batch with noise added."""
    corpus, vae = Corpus.load(work, "train"), build()
    everything = np.arange(len(corpus.images))

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x = corpus.pixels(pick(everything, BATCH, rng)) * 2 - 1
        amount = 0.1 * torch.rand(BATCH, 1, 1, 1, generator=rng)
        amount[BATCH // 4 :] = 0  # a quarter of the batch carries noise
        x = (x + amount * torch.randn(x.shape, generator=rng)).clamp(-1, 1)
        return objective(vae, x, rng)

    seconds = fit(
        name="vae", module=vae, loss=loss, steps=steps, work=work, peak=1.5e-3, warmup=50, ema=0.995
    )
    set_scale(vae, corpus, everything, 512)
    return vae, seconds
