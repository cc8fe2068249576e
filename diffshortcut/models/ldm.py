"""Latent diffusion models (Rombach et al. 2022) in the folder layout of diffusers.

Images are (n, 3, h, w) in [0, 1], latents z (n, 4, h/8, w/8), timesteps t (n,) int64, a context
(n or 1, tokens, dim) is an encoded prompt. Draws arrive on the CPU and are moved to the model.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from diffshortcut.errors import UserError
from diffshortcut.models import adapters
from diffshortcut.models.remembered import remembered
from diffshortcut.precision import Precision
from diffshortcut.weights import locate


@dataclass(frozen=True, kw_only=True)
class LatentDiffusion:
    """Autoencoder, denoiser, text encoder and noise schedule of one model.

    The nets stay in evaluation mode, also in training: dropout would draw from the global
    generator.
    """

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDPMScheduler  # of training
    solver: str = "DDIMScheduler"  # of sampling: the class the checkpoint names
    precision: Precision = Precision()

    @property
    def num_timesteps(self) -> int:
        """T: timesteps are 0 ... T-1."""
        return self.scheduler.config.num_train_timesteps

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the latent of one image at the model's own resolution."""
        size = self.unet.config.sample_size
        return (self.unet.config.in_channels, size, size)

    @property
    def factor(self) -> int:
        """How many pixels wide a latent is: the sides of images must be multiples of it."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def device(self) -> torch.device:
        """Where the nets compute."""
        return self.unet.device

    def encode_prompt(self, prompts: Sequence[str]) -> Tensor:
        """The context (n, tokens, dim) of n prompts; carries the text encoder's gradient."""
        length = self.text_encoder.config.max_position_embeddings
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        )
        with self.precision.computing(self.device):
            context = self.text_encoder(tokens.input_ids.to(self.device)).last_hidden_state
        return context.to(self.text_encoder.dtype)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z | images), unscaled; both carry the gradient."""
        return self.precision.recomputed(self._posterior, images.to(self.device) * 2 - 1)

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with self.precision.computing(self.device):
            latent = self.vae.encode(x).latent_dist
        return latent.mean.to(x), latent.std.to(x)

    def reparameterize(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """A scaled sample z of a posterior, given its standard normal draw."""
        return (mean + std * noise.to(mean)) * self.vae.config.scaling_factor

    def encode(self, images: Tensor) -> Tensor:
        """Scaled z of images, the posterior's mean."""
        mean, _ = self.posterior(images)
        return mean * self.vae.config.scaling_factor

    def decode(self, z: Tensor, *, clip: bool = True) -> Tensor:
        """Images of scaled latents, clipped to [0, 1] unless told not to."""
        with self.precision.computing(self.device):
            decoded = self.vae.decode(z / self.vae.config.scaling_factor).sample
        decoded = decoded.to(z) / 2 + 0.5
        return decoded.clamp(0, 1) if clip else decoded

    def add_noise(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z_t = sqrt(alpha_bar_t) z + sqrt(1 - alpha_bar_t) noise; z itself at t = -1."""
        signal, sigma = self._rates(t, z)
        return signal * z + sigma * noise.to(z)

    def target(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the denoiser is trained to give: the noise, or v = signal noise - sigma z."""
        if self.scheduler.config.prediction_type == "epsilon":
            return noise.to(z)
        signal, sigma = self._rates(t, z)
        return signal * noise.to(z) - sigma * z

    def predict(self, z_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """The denoiser's output at z_t; one context row serves all images."""
        dtype = self.unet.dtype  # of training in pure bfloat16, as released attacks do
        context = context.expand(len(z_t), -1, -1).to(dtype)
        t = t.to(z_t.device)
        with self.precision.computing(self.device):
            found = self.unet(z_t.to(dtype), t, encoder_hidden_states=context).sample
        return found.to(z_t)

    def previous(
        self,
        z_t: Tensor,
        prediction: Tensor,
        t: Tensor,
        before: Tensor | None = None,
        fresh: Tensor | None = None,
    ) -> Tensor:
        """The latent at timestep `before` (t - 1 unless given); -1 is the clean latent.

        The step is deterministic (DDIM), or with a draw of `fresh` noise ancestral (DDPM).
        """
        before = t - 1 if before is None else before
        clean, noise = self.split(z_t, prediction, t)
        if fresh is None:
            return self.add_noise(clean, noise, before)
        (signal, sigma), (less, least) = self._rates(t, z_t), self._rates(before, z_t)
        renewed = least / sigma * (1 - (signal / less).square()).sqrt()
        kept = (least.square() - renewed.square()).clamp(min=0).sqrt()
        return less * clean + kept * noise + renewed * fresh.to(z_t)

    def split(self, z_t: Tensor, prediction: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The clean latent and the noise that the denoiser's output takes z_t for."""
        signal, sigma = self._rates(t, z_t)
        if self.scheduler.config.prediction_type == "epsilon":
            return (z_t - sigma * prediction) / signal, prediction
        return signal * z_t - sigma * prediction, sigma * z_t + signal * prediction

    def denoising_loss(self, z: Tensor, context: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Eq. 1 per image, (n,): the mean squared error of the denoiser at timestep t."""
        error = self.predict(self.add_noise(z, noise, t), t, context) - self.target(z, noise, t)
        return error.square().mean(dim=(1, 2, 3))

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What DreamBooth trains: all of the denoiser and of the text encoder."""
        return [*self.unet.parameters(), *self.text_encoder.parameters()]

    def copy(self, dtype: torch.dtype = torch.float32) -> "LatentDiffusion":
        """A trainable copy of denoiser and text encoder; autoencoder and tokenizer are shared."""
        copied = self.frozen_copy()
        for net in (copied.unet, copied.text_encoder):
            nn.Module.to(net, dtype)
            net.requires_grad_(True)
        return copied

    def frozen_copy(self) -> "LatentDiffusion":
        """The same without gradients, for changes of a few weights."""
        nets = {"unet": copy.deepcopy(self.unet), "text_encoder": copy.deepcopy(self.text_encoder)}
        for net in nets.values():
            self.precision.prepare(net).requires_grad_(False)
        return replace(self, **nets)

    def save(self, folder: Path) -> None:
        """Write what training changes: unet/ and text_encoder/, as diffusers reads them."""
        self.unet.register_to_config(_name_or_path="")  # equal bytes wherever the base lies
        self.unet.save_pretrained(folder / "unet")
        self.text_encoder.save_pretrained(folder / "text_encoder")

    def with_weights(self, folder: Path) -> "LatentDiffusion":
        """This model with what a trainer wrote: both networks, or small changes; read-only."""
        if (folder / "unet").is_dir():
            return replace(self, **_trained_parts(folder, self.device, self.precision))
        changed = self.frozen_copy()
        nets = {"unet": changed.unet, "text_encoder": changed.text_encoder}
        adapters.apply(folder, **nets, tokenizer=self.tokenizer)
        return changed

    def _rates(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        t = t.to(like.device)
        alpha_bar = self.scheduler.alphas_cumprod.to(like)[t.clamp(min=0)]
        alpha_bar = torch.where(t < 0, 1.0, alpha_bar).view(-1, 1, 1, 1)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def load(
    *,
    weights: str,
    autoencoder: str | None = None,
    resolution: int | None = None,
    precision: Precision | None = None,
) -> LatentDiffusion:
    """The model of a weight reference (a diffusers pipeline folder), read once per process.

    `autoencoder` refers to another pipeline whose VAE this one shares, `resolution` is the side in
    pixels that the model is expected to have. The model is shared and read-only: train a `copy()`.
    UserError if the weights are missing or of another resolution.
    """
    folder, shared = locate(weights), locate(autoencoder or weights)
    model = _load(folder, shared, torch.get_default_device(), precision or Precision())
    own = model.latent_shape[-1] * model.factor
    if resolution not in (None, own):
        raise UserError(f"{weights} makes pictures of {own} pixels, not {resolution}")
    return model


@remembered
def _load(
    folder: Path, shared: Path, device: torch.device, precision: Precision
) -> LatentDiffusion:
    schedule = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    return LatentDiffusion(
        solver=schedule["_class_name"],
        precision=precision,
        vae=_frozen(AutoencoderKL, shared, "vae", device, precision),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        scheduler=DDPMScheduler.from_pretrained(folder / "scheduler", local_files_only=True),
        **_trained_parts(folder, device, precision),
    )


def _trained_parts(folder: Path, device: torch.device, precision: Precision) -> dict[str, Any]:
    return {
        "unet": _frozen(UNet2DConditionModel, folder, "unet", device, precision),
        "text_encoder": _frozen(CLIPTextModel, folder, "text_encoder", device, precision),
    }


def _frozen(kind: Any, folder: Path, part: str, device: torch.device, precision: Precision) -> Any:
    net = kind.from_pretrained(
        folder / part,
        local_files_only=True,
        use_safetensors=True,
        torch_dtype=torch.float32,  # else that of config.json, which says float16 of SD 2's float32
    )
    return precision.prepare(net.to(device).eval().requires_grad_(False))
