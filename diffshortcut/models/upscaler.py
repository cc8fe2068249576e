"""The x4 upscaler: latent diffusion conditioned on a noised low-resolution image."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionUpscalePipeline
from diffusers.utils.logging import disable_progress_bar
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from diffshortcut.errors import UserError
from diffshortcut.models.remembered import remembered
from diffshortcut.pictures.images import batches
from diffshortcut.precision import Precision
from diffshortcut.seeding import Draws
from diffshortcut.weights import locate

FACTOR = 0.08333  # of the released model's latents


class Upscaler:
    """StableDiffusionUpscalePipeline on batches in [0, 1], with named draws."""

    def __init__(
        self, pipeline: StableDiffusionUpscalePipeline, precision: Precision | None = None
    ) -> None:
        self.pipeline = pipeline
        self.precision = precision or Precision()

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
        the low-resolution images (at most 350 for the released model). An empty prompt needs no
        guidance: both branches would be the same.
        """
        self._check(noise_level)
        generators = [draws.generator("upscale", image=i) for i in range(len(images))]
        parts = []
        for some in batches(len(images), micro_batch):
            part = images[some.start : some.stop]
            with self.precision.computing(self.pipeline.device):
                latents = self.pipeline(
                    prompt=[prompt] * len(part),
                    image=part,
                    num_inference_steps=steps,
                    guidance_scale=guidance if prompt else 1.0,
                    noise_level=noise_level,
                    generator=generators[some.start : some.stop],
                    output_type="latent",
                ).images
            parts.append(self._decode(latents.float()).to(images))
        return torch.cat(parts)

    def trajectory_loss(
        self,
        low: Tensor,
        high: Tensor,
        *,
        prompt: str,
        draws: Draws,
        steps: int,
        guidance: float,
        noise_level: int,
    ) -> Tensor:
        """(n,) how wrong the guided denoiser is about `high`, at a timestep of its own sampler.

        `high` (n, 3, 4h, 4w) gives the latent that is noised, `low` (n, 3, h, w) conditions; the
        gradient reaches both. mse of v = v_u + guidance (v_c - v_u) against the true velocity.
        """
        solver, device = self._solver(steps), self.pipeline.device
        low, high = low.to(device), high.to(device)
        unit = draws.uniform("timestep", (), len(high))
        t = solver.timesteps[(unit * len(solver.timesteps)).long()].to(high.device)
        mean, std = self.precision.recomputed(self._posterior, high * 2 - 1)
        fresh = draws.normal("posterior", mean.shape[1:], len(high)).to(high)
        z = (mean + std * fresh) * self.pipeline.vae.config.scaling_factor
        noise = draws.normal("noise", z.shape[1:], len(z)).to(z)
        condition = self._condition(low, prompt, draws, noise_level)
        velocity = self._guided(solver.add_noise(z, noise, t), t, condition, guidance)
        return (velocity - solver.get_velocity(z, noise, t)).square().mean((1, 2, 3))

    def unrolled(
        self,
        low: Tensor,
        *,
        prompt: str,
        draws: Draws,
        steps: int,
        guidance: float,
        noise_level: int,
    ) -> Tensor:
        """What `__call__` gives in `steps` deterministic steps, (n, 3, 4h, 4w); with gradient.

        Every step is computed again in the backward pass, so memory does not grow with steps.
        """
        low = low.to(self.pipeline.device)
        solver, condition = self._solver(steps), self._condition(low, prompt, draws, noise_level)
        channels = self.pipeline.vae.config.latent_channels
        z = draws.normal("latents", (channels, *low.shape[-2:]), len(low)).to(low)

        def step(z: Tensor, t: Tensor) -> Tensor:
            velocity = self._guided(z, t.expand(len(z)).to(z.device), condition, guidance)
            return solver.step(velocity, t, z, eta=0.0).prev_sample

        for t in solver.timesteps:
            z = checkpoint(step, z, t, use_reentrant=False)
        return checkpoint(self._decode, z, use_reentrant=False)

    def _check(self, noise_level: int) -> None:
        """UserError for more noise than the model was trained on."""
        if noise_level > (most := self.pipeline.config["max_noise_level"]):
            raise UserError(f"noise_level must be at most {most}, not {noise_level}")

    def _solver(self, steps: int) -> DDIMScheduler:
        solver = DDIMScheduler.from_config(self.pipeline.scheduler.config)
        solver.set_timesteps(steps)
        return solver

    def _condition(self, low: Tensor, prompt: str, draws: Draws, noise_level: int) -> "Condition":
        self._check(noise_level)
        level = torch.full((len(low),), noise_level, device=low.device)
        noise = draws.normal("low resolution", low.shape[1:], len(low)).to(low)
        noised = self.pipeline.low_res_scheduler.add_noise(low * 2 - 1, noise, level)
        return Condition(noised, level, self._contexts(prompt))

    @torch.no_grad()
    def _contexts(self, prompt: str) -> tuple[Tensor, Tensor]:
        device = self.pipeline.device
        positive, negative = self.pipeline.encode_prompt(prompt, device, 1, True)
        return positive, negative

    def _guided(self, z: Tensor, t: Tensor, condition: "Condition", guidance: float) -> Tensor:
        """v_u + guidance (v_c - v_u); one branch if both prompts are the same."""
        positive, negative = condition.contexts
        contexts = [positive] if torch.equal(positive, negative) else [negative, positive]
        branches = len(contexts)
        with self.precision.computing(z.device):
            velocity = self.pipeline.unet(
                torch.cat([z, condition.low], dim=1).repeat(branches, 1, 1, 1),
                t.repeat(branches),
                encoder_hidden_states=torch.cat([c.expand(len(z), -1, -1) for c in contexts]),
                class_labels=condition.level.repeat(branches),
            ).sample
        if branches == 1:
            return velocity.to(z)
        away, toward = velocity.to(z).chunk(2)
        return away + guidance * (toward - away)

    def _decode(self, z: Tensor) -> Tensor:
        """In float32, as released: bfloat16 would change a byte in seven."""
        vae = self.pipeline.vae
        return (vae.decode(z / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with self.precision.autoencoding(x.device):
            latent = self.pipeline.vae.encode(x).latent_dist
        return latent.mean.to(x), latent.std.to(x)


@dataclass(frozen=True)
class Condition:
    """What the denoiser is told: the noised small images, their noise level, the prompts."""

    low: Tensor
    level: Tensor
    contexts: tuple[Tensor, Tensor]  # of the prompt and of no prompt


def load(*, weights: str, precision: Precision | None = None) -> Upscaler:
    """The upscaler of a weight reference (a pipeline folder), read once per process."""
    return _load(locate(weights), torch.get_default_device(), precision or Precision())


@remembered
def _load(folder: Path, device: torch.device, precision: Precision) -> Upscaler:
    disable_progress_bar()  # a stage has its own
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        pipeline = StableDiffusionUpscalePipeline.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32
        )
    # the pipeline overwrites every factor but that of the released model, whose first config.json
    # said none
    config = json.loads((folder / "vae" / "config.json").read_text())
    pipeline.vae.register_to_config(scaling_factor=config.get("scaling_factor", FACTOR))
    pipeline.set_progress_bar_config(disable=True)
    for net in (pipeline.vae, pipeline.unet, pipeline.text_encoder):
        precision.prepare(net.to(device).requires_grad_(False))
    return Upscaler(pipeline, precision)
