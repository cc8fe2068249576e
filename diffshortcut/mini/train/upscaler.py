"""The x4 upscaler: a small StableDiffusionUpscalePipeline, 32 to 128 px, v-prediction.

Its own VAE has f = 4 (latents 32x32x4), its UNet reads seven channels: the noisy latent and the
low-resolution image, itself noised at a level that the UNet is told (class labels), as published.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    StableDiffusionUpscalePipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from diffshortcut.mini.train.clip import TEXT, tokenize
from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.ldm import CROSS, text_encoder
from diffshortcut.mini.train.loop import fit
from diffshortcut.mini.train.vae import narrow, reconstruction

BATCH, DROP, MAX_NOISE = 16, 0.1, 350
BETAS = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "scaled_linear"}
WIDTHS = (32, 64, 96)


def build_vae() -> AutoencoderKL:
    """The f = 4 autoencoder, 1.1 M parameters."""
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=128,
        layers_per_block=1,
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[16, 32, 96],
        norm_num_groups=8,
        scaling_factor=1.0,
    )
    narrow(vae)
    return vae


def build_unet() -> UNet2DConditionModel:
    """The untrained UNet; attention only from 16x16 on."""
    down = ("DownBlock2D", *CROSS[:2])
    up = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=7,
        out_channels=4,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        down_block_types=down,
        up_block_types=up,
        norm_num_groups=8,
        cross_attention_dim=TEXT["hidden_size"],
        attention_head_dim=4,
        num_class_embeds=1000,
    )


def train_vae(work: Path, corpus: Corpus, steps: int) -> tuple[AutoencoderKL, float]:
    """As the LDM's VAE, at f = 4 and on undamaged pictures."""
    vae, index = build_vae(), corpus.where(degradation=None)

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x = corpus.pixels(pick(index, BATCH, rng)) * 2 - 1
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=rng)
            output = vae.decode(z).sample.float()
        kl = posterior.kl().mean() / x[0].numel()
        mse = float((output - x).detach().square().mean())
        return reconstruction(output, x) + 1e-3 * kl, {"psnr": 10 * np.log10(4 / mse)}

    seconds = fit(name="upscaler_vae", module=vae, loss=loss, steps=steps, work=work, peak=2e-3)
    with torch.no_grad():
        sample = corpus.pixels(index[:: max(1, len(index) // 256)]) * 2 - 1
        z = torch.cat([vae.encode(part).latent_dist.mean for part in sample.split(32)])
    vae.register_to_config(scaling_factor=round(float(1 / z.std()), 5))
    return vae, seconds


def train(
    work: Path, clip: CLIPModel, tokens: CLIPTokenizer, steps: tuple[int, int]
) -> tuple[StableDiffusionUpscalePipeline, float]:
    """Train the VAE, then the UNet; the text encoder is CLIP's, frozen."""
    corpus = Corpus.load(work, "train")
    vae, first = train_vae(work, corpus, steps[0])
    unet, encoder, index = build_unet(), text_encoder(clip, tokens), corpus.where(degradation=None)
    schedule = DDPMScheduler(**BETAS, prediction_type="v_prediction", clip_sample=False)
    low_schedule = DDPMScheduler(**BETAS)
    vae.requires_grad_(False)
    encoder.requires_grad_(False)

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = pick(index, BATCH, rng)
        x = corpus.pixels(chosen)
        texts = [
            t if keep else ""
            for t, keep in zip(
                corpus.captions(chosen, seed=step),
                torch.rand(BATCH, generator=rng) >= DROP,
                strict=True,
            )
        ]
        low = (
            functional.interpolate(x, size=(32, 32), mode="bicubic", antialias=True).clamp(0, 1) * 2
            - 1
        )
        level = torch.randint(MAX_NOISE, (BATCH,), generator=rng)
        low = low_schedule.add_noise(low, torch.randn(low.shape, generator=rng), level)
        t = torch.randint(1000, (BATCH,), generator=rng)
        with torch.no_grad():
            z = vae.encode(x * 2 - 1).latent_dist.mean * vae.config.scaling_factor
            context = encoder(tokenize(tokens, texts)).last_hidden_state
        noise = torch.randn(z.shape, generator=rng)
        noisy = torch.cat([schedule.add_noise(z, noise, t), low], 1)
        output = unet(noisy, t, context, class_labels=level).sample
        return (output - schedule.get_velocity(z, noise, t)).square().mean(), {}

    second = fit(name="upscaler", module=unet, loss=loss, steps=steps[1], work=work, peak=1e-3)
    sampler = DDIMScheduler(
        **BETAS,
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    factor = vae.config.scaling_factor
    pipeline = StableDiffusionUpscalePipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokens,
        unet=unet,
        scheduler=sampler,
        low_res_scheduler=low_schedule,
        max_noise_level=MAX_NOISE,
    )
    pipeline.vae.register_to_config(scaling_factor=factor)  # the constructor writes SD's own
    return pipeline, first + second
