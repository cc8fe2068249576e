"""The x4 upscaler: a small StableDiffusionUpscalePipeline, 32 to 128 px, v-prediction.

Its own VAE has f = 4 (latents 32x32x4), its UNet reads seven channels: the noisy latent and the
low-resolution image, itself noised at a level that the UNet is told (class labels), as published.
"""

from pathlib import Path

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

from diffshortcut.mini.train import vae
from diffshortcut.mini.train.clip import TEXT, tokenize
from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.ldm import CROSS, text_encoder
from diffshortcut.mini.train.loop import fit

BATCH, DROP, MAX_NOISE = 16, 0.1, 350
BETAS = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "scaled_linear"}
WIDTHS = (32, 64, 96)
VAE_WIDTHS = (16, 32, 96)  # three levels: f = 4, 1.1 M parameters


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
    autoencoder, index = vae.build(VAE_WIDTHS), corpus.where(degradation=None)

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        return vae.objective(autoencoder, corpus.pixels(pick(index, BATCH, rng)) * 2 - 1, rng)

    seconds = fit(
        name="upscaler_vae", module=autoencoder, loss=loss, steps=steps, work=work, peak=2e-3
    )
    vae.set_scale(autoencoder, corpus, index, 256)
    return autoencoder, seconds


def train(
    work: Path, clip: CLIPModel, tokens: CLIPTokenizer, steps: tuple[int, int]
) -> tuple[StableDiffusionUpscalePipeline, float]:
    """Train the VAE, then the UNet; the text encoder is CLIP's, frozen."""
    corpus = Corpus.load(work, "train")
    autoencoder, first = train_vae(work, corpus, steps[0])
    unet, encoder, index = build_unet(), text_encoder(clip, tokens), corpus.where(degradation=None)
    schedule = DDPMScheduler(**BETAS, prediction_type="v_prediction", clip_sample=False)
    low_schedule = DDPMScheduler(**BETAS)
    autoencoder.requires_grad_(False)
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
            z = autoencoder.encode(x * 2 - 1).latent_dist.mean * autoencoder.config.scaling_factor
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
