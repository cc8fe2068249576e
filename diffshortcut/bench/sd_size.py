"""The same counts at the size of Stable Diffusion 2.1, without weights and without computing."""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.pgd import gradient_of
from diffshortcut.bench import published
from diffshortcut.bench.counts import Counts, counting
from diffshortcut.models.ldm import LatentDiffusion, load
from diffshortcut.report.sheet import Sheet
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="bench", person="nobody")
IMAGES, PIXELS = 4, 512
PROMPT = "a photo of sks person"


def model() -> LatentDiffusion:
    """Stable Diffusion 2.1's shapes without values; schedule and tokens are the mini zoo's."""
    mini = load(weights="mini:mini_a")
    levels = (128, 256, 512, 512)
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=levels,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        )
        unet = UNet2DConditionModel(
            sample_size=64,
            cross_attention_dim=1024,
            attention_head_dim=(5, 10, 20, 20),
            use_linear_projection=True,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49408,
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=23,
                num_attention_heads=16,
                max_position_embeddings=77,
                projection_dim=512,
                hidden_act="gelu",
            )
        )
    for net in (vae, unet, text):
        net.eval().requires_grad_(False)
    return LatentDiffusion(
        vae=vae, unet=unet, text_encoder=text, tokenizer=mini.tokenizer, scheduler=mini.scheduler
    )


def step_counts() -> tuple[Counts, Counts]:
    """Of a step of projected gradient ascent: the published one's, and ours."""
    theirs, ours, sd = Counts(), Counts(), model()
    x = torch.empty(IMAGES, 3, PIXELS, PIXELS, device="meta")
    gradient = gradient_of(denoising_loss(sd, PROMPT, DRAWS))
    with counting(ours):
        gradient(x, range(IMAGES), 0)
    whole = sd.copy()
    with counting(theirs):
        published.wasteful(whole, PROMPT, DRAWS, 0)(x.requires_grad_()).backward()
    return theirs, ours


def sheet() -> Sheet:
    """One row."""
    theirs, ours = step_counts()
    return Sheet(
        f"A step at the size of SD 2.1, {IMAGES} images of {PIXELS} px, counted only",
        ["published / ours", "TFLOP", "counted ratio"],
        [
            [
                "fsmg, aspl: step",
                f"{theirs.flops / 1e12:.1f} / {ours.flops / 1e12:.1f}",
                f"{theirs.flops / ours.flops:.2f}",
            ]
        ],
    )
