"""The x4 upscaler: a small StableDiffusionUpscalePipeline, 32 to 128 px, v-prediction.

Its own VAE has f = 4 (latents 32x32x4), its UNet reads seven channels: the noisy latent and the
low-resolution image, itself noised at a level that the UNet is told (class labels), as published.
Also as published, most of the training sees crops: four of them cost what one whole picture does.
Slight noise on the low-resolution image is drawn more often than heavy, for it is what is used.
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
from transformers import CLIPModel, CLIPTokenizer

from diffshortcut.mini.train import vae
from diffshortcut.mini.train.clip import TEXT, tokenize
from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.held_out import quarter
from diffshortcut.mini.train.ldm import CROSS, text_encoder, weights
from diffshortcut.mini.train.loop import fit

BATCH, CROP, DROP, MAX_NOISE = 16, 64, 0.1, 350
WHOLE = 0.7  # share of the steps after which whole pictures, a quarter as many, are shown
BETAS = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "scaled_linear"}
WIDTHS = (32, 64, 96)
VAE_WIDTHS, GROUPS = (16, 32, 96), 4  # three levels: f = 4, 1.4 M parameters
COARSE = 3.0  # weight of the colors, see vae.objective


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


def shown(
    corpus: Corpus, index: np.ndarray, whole: bool, rng: torch.Generator
) -> tuple[np.ndarray, Tensor]:
    """Indices and pixels of a batch: BATCH crops of CROP px or a quarter as many pictures."""
    chosen = pick(index, BATCH // 4 if whole else BATCH, rng)
    x = corpus.pixels(chosen)
    if whole:
        return chosen, x
    corner = 4 * torch.randint((128 - CROP) // 4 + 1, (len(x), 2), generator=rng)
    parts = [
        image[:, i : i + CROP, j : j + CROP]
        for image, (i, j) in zip(x, corner.tolist(), strict=True)
    ]
    return chosen, torch.stack(parts)


def train_vae(work: Path, corpus: Corpus, steps: int) -> tuple[AutoencoderKL, float]:
    """As the LDM's VAE, at f = 4 and on undamaged pictures."""
    autoencoder, index = vae.build(VAE_WIDTHS, GROUPS), corpus.where(degradation=None)

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        _, x = shown(corpus, index, step > WHOLE * steps, rng)
        return vae.objective(autoencoder, x * 2 - 1, rng, COARSE)

    seconds = fit(
        name="upscaler_vae", module=autoencoder, loss=loss, steps=steps, work=work, peak=1.5e-3
    )
    vae.set_scale(autoencoder, corpus, index, 256)
    return autoencoder, seconds


def train(
    work: Path, clip: CLIPModel, tokens: CLIPTokenizer, steps: tuple[int, ...]
) -> tuple[StableDiffusionUpscalePipeline, float]:
    """Train the VAE, then the UNet; the text encoder is CLIP's, frozen."""
    corpus = Corpus.load(work, "train")
    autoencoder, first = train_vae(work, corpus, steps[0])
    unet, encoder, index = build_unet(), text_encoder(clip, tokens), corpus.where(degradation=None)
    schedule = DDPMScheduler(**BETAS, prediction_type="v_prediction", clip_sample=False)
    low_schedule, weight = DDPMScheduler(**BETAS), weights(schedule)
    autoencoder.requires_grad_(False)
    encoder.requires_grad_(False)

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen, x = shown(corpus, index, step > WHOLE * steps[1], rng)
        kept = torch.rand(len(x), generator=rng) >= DROP
        texts = [
            t if keep else ""
            for t, keep in zip(corpus.captions(chosen, seed=step), kept, strict=True)
        ]
        low = quarter(x) * 2 - 1
        level = (MAX_NOISE * torch.rand(len(x), generator=rng).square()).long()
        low = low_schedule.add_noise(low, torch.randn(low.shape, generator=rng), level)
        t = torch.randint(1000, (len(x),), generator=rng)
        with torch.no_grad():
            z = autoencoder.encode(x * 2 - 1).latent_dist.mean * autoencoder.config.scaling_factor
            context = encoder(tokenize(tokens, texts)).last_hidden_state
        noise = torch.randn(z.shape, generator=rng)
        noisy = torch.cat([schedule.add_noise(z, noise, t), low], 1)
        output = unet(noisy, t, context, class_labels=level).sample
        error = (output - schedule.get_velocity(z, noise, t)).square().mean((1, 2, 3))
        return (weight[t] * error).mean(), {"mse": float(error.detach().mean())}

    second = fit(
        name="upscaler", module=unet, loss=loss, steps=steps[1], work=work, peak=1e-3, decay=0.4
    )
    sampler = DDIMScheduler(
        **BETAS,
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    factor = autoencoder.config.scaling_factor
    pipeline = StableDiffusionUpscalePipeline(
        vae=autoencoder,
        text_encoder=encoder,
        tokenizer=tokens,
        unet=unet,
        scheduler=sampler,
        low_res_scheduler=low_schedule,
        max_noise_level=MAX_NOISE,
    )
    pipeline.vae.register_to_config(scaling_factor=factor)  # the constructor writes SD's own
    return pipeline, first + second
