"""The latent diffusion models: a small UNet2DConditionModel reading CLIP's text encoder.

mini_a, mini_b and mini_c differ in seed, in width and (mini_c) in what they predict (v); they share
the VAE, as SD 1.4, 1.5 and 2.1 nearly do. The text encoder is CLIP's and stays as it is: trained
along at the UNet's rate it drowned its tokens in one common direction, and prompts lost their
meaning.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from diffshortcut.mini.train.clip import TEXT, text_config, tokenize
from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.loop import fit
from diffshortcut.progress import track

BATCH, CAPTIONS, DROP = 48, 3, 0.1
GAMMA = 5.0  # min-SNR weighting (Hang et al. 2023): early steps do not drown the others
CROSS = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")


@dataclass(frozen=True)
class Variant:
    """What makes one of the models: its seed, widths and prediction type."""

    seed: int
    widths: tuple[int, ...]
    prediction: str = "epsilon"


VARIANTS = {
    "mini_a": Variant(1, (48, 96, 128)),
    "mini_b": Variant(2, (40, 72, 96)),
    "mini_c": Variant(3, (32, 64, 96), "v_prediction"),
}


def build(variant: Variant) -> UNet2DConditionModel:
    """The untrained UNet: 16x16x4 latents, attention at 16 and 8."""
    torch.manual_seed(variant.seed)
    up = tuple(name.replace("Down", "Up") for name in reversed(CROSS))
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=variant.widths,
        layers_per_block=1,
        down_block_types=CROSS,
        up_block_types=up,
        norm_num_groups=8,
        cross_attention_dim=TEXT["hidden_size"],
        attention_head_dim=4,
    )


def scheduler(variant: Variant) -> DDPMScheduler:
    """SD's noise schedule: scaled linear, 0.00085 to 0.012, 1000 steps."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=variant.prediction,
        clip_sample=False,
    )


def weights(schedule: DDPMScheduler) -> Tensor:
    """Weight of the squared error per timestep, (T,): min(SNR, GAMMA) in units of z."""
    ratio = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    velocity = schedule.config.prediction_type == "v_prediction"
    return ratio.clamp(max=GAMMA) / (ratio + 1 if velocity else ratio)


@torch.no_grad()
def latents(vae: AutoencoderKL, corpus: Corpus, path: Path) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (n, 4, 16, 16) of every posterior, cached in half precision."""
    if not path.exists():
        parts = []
        index = np.arange(len(corpus.images))
        for part in track(corpus.batches(index, 16), "encode", total=len(index) // 16 + 1):
            with torch.autocast("cpu", torch.bfloat16):
                posterior = vae.encode(corpus.pixels(part) * 2 - 1).latent_dist
            parts.append(torch.stack([posterior.mean, posterior.std]).half())
        torch.save(torch.cat(parts, 1), path)
    mean, std = torch.load(path, weights_only=True)
    return mean, std


def text_encoder(clip: CLIPModel, tokens: CLIPTokenizer) -> CLIPTextModel:
    """A copy of CLIP's text tower."""
    encoder = CLIPTextModel(text_config(tokens))
    encoder.load_state_dict(clip.text_model.state_dict())
    return encoder


def train(
    work: Path, name: str, vae: AutoencoderKL, clip: CLIPModel, tokens: CLIPTokenizer, steps: int
) -> tuple[nn.ModuleDict, float]:
    """Train the UNet on cached latents; a tenth of the captions is empty (for CFG)."""
    corpus, variant = Corpus.load(work, "train"), VARIANTS[name]
    mean, std = latents(vae, corpus, work / "latents.pt")
    everything, schedule = np.arange(len(corpus.images)), scheduler(variant)
    ids = torch.stack(
        [
            tokenize(tokens, corpus.captions(everything, seed=100 + k)).short()
            for k in range(CAPTIONS)
        ]
    )
    empty, weight = tokenize(tokens, [""]), weights(schedule)
    module = nn.ModuleDict({"unet": build(variant), "text_encoder": text_encoder(clip, tokens)})
    module["text_encoder"].requires_grad_(False)

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        index = torch.from_numpy(pick(everything, BATCH, rng))
        noise = torch.randn(2, BATCH, 4, 16, 16, generator=rng)
        z = (mean[index].float() + std[index].float() * noise[0]) * vae.config.scaling_factor
        words = ids[torch.randint(CAPTIONS, (BATCH,), generator=rng), index].long()
        words = torch.where(torch.rand(BATCH, 1, generator=rng) < DROP, empty, words)
        t = torch.randint(1000, (BATCH,), generator=rng)
        with torch.no_grad():
            context = module["text_encoder"](words).last_hidden_state
        output = module["unet"](schedule.add_noise(z, noise[1], t), t, context).sample
        target = noise[1]
        if variant.prediction == "v_prediction":
            target = schedule.get_velocity(z, noise[1], t)
        error = (output - target).square().mean((1, 2, 3))
        return (weight[t] * error).mean(), {"mse": float(error.detach().mean())}

    seconds = fit(
        name=name,
        module=module,
        loss=loss,
        steps=steps,
        work=work,
        peak=1e-3,
        decay=0.4,
        ema=0.999,
    )
    return module, seconds


def save(
    module: nn.ModuleDict, name: str, vae: AutoencoderKL | None, tokens: CLIPTokenizer, folder: Path
) -> None:
    """Write a StableDiffusionPipeline folder that plain diffusers loads, in half precision.

    Without `vae` the folder has none, and whoever loads it passes the shared one.
    """
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=vae,
        unet=module["unet"],
        text_encoder=module["text_encoder"],
        tokenizer=tokens,
        scheduler=scheduler(VARIANTS[name]),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(torch.float32)
