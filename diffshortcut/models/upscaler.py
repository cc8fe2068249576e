"""The x4 upscaler: latent diffusion conditioned on a noised low-resolution image."""

import json
import warnings
from functools import cache
from pathlib import Path

import torch
from diffusers import StableDiffusionUpscalePipeline
from torch import Tensor

from diffshortcut.seeding import Draws
from diffshortcut.weights import locate


class Upscaler:
    """StableDiffusionUpscalePipeline on batches in [0, 1], with named draws."""

    def __init__(self, pipeline: StableDiffusionUpscalePipeline) -> None:
        self.pipeline = pipeline

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        *,
        prompt: str,
        draws: Draws,
        steps: int = 75,
        guidance: float = 9.0,
        noise_level: int = 20,
        micro_batch: int | None = None,
    ) -> Tensor:
        """(n, 3, h, w) to (n, 3, 4h, 4w), both in [0, 1]; each image has a generator of its own.

        `guidance` is diffusers' guidance_scale; `noise_level` is the timestep of the noise added to
        the low-resolution images (at most 350 for the released model).
        """
        generators = [draws.generator("upscale", image=i) for i in range(len(images))]
        size = micro_batch or len(images)
        parts = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            upscaled = self.pipeline(
                prompt=[prompt] * len(part),
                image=part,
                num_inference_steps=steps,
                guidance_scale=guidance,
                noise_level=noise_level,
                generator=generators[start : start + size],
                output_type="pt",
            )
            parts.append(upscaled.images.to(images))
        return torch.cat(parts)


def load(*, weights: str) -> Upscaler:
    """The upscaler of a weight reference (a pipeline folder), read once per process."""
    return _load(locate(weights), torch.get_default_device())


@cache
def _load(folder: Path, device: torch.device) -> Upscaler:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        pipeline = StableDiffusionUpscalePipeline.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
    # the pipeline overwrites every factor but that of the released model
    factor = json.loads((folder / "vae" / "config.json").read_text())["scaling_factor"]
    pipeline.vae.register_to_config(scaling_factor=factor)
    pipeline.set_progress_bar_config(disable=True)
    return Upscaler(pipeline.to(device, torch.float32))
