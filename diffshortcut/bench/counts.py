"""What a loop computes: counted, not estimated."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from typing import Any
from unittest.mock import patch

from diffusers import UNet2DConditionModel, UNet2DModel
from diffusers.models.autoencoders.vae import Decoder, Encoder
from torch import Tensor
from torch.nn import Module
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextModel

from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.models.nets import RecognizerBNet


@dataclass
class Counts:
    """Multiplications and additions of products and convolutions, and how many rows went where."""

    flops: float = 0
    texts: float = 0  # prompts embedded
    encoded: float = 0  # images through the autoencoder
    denoised: float = 0  # latents through the denoiser
    denoised_back: float = 0  # of these, how many with a backward pass
    copies: float = 0  # of denoiser and text encoder
    calls: float = 0  # of a denoiser, latent or pixel
    windows: float = 0  # images through a pixel denoiser
    decoded: float = 0  # latents through the autoencoder's decoder
    features: float = 0  # images through the perceptual net's trunk

    def per(self, turns: int) -> "Counts":
        """The mean of some turns."""
        return Counts(*(getattr(self, field.name) / turns for field in fields(self)))


@contextmanager
def counting(into: Counts, *, operations: bool = True) -> Iterator[None]:
    """Add what happens inside, in any model and in copies made meanwhile.

    Operations take their time to count.
    """
    copy, features = LatentDiffusion.copy, RecognizerBNet.features

    def counted(self: LatentDiffusion, *args: Any) -> LatentDiffusion:
        into.copies += 1
        return copy(self, *args)

    def seen(self: RecognizerBNet, x: Tensor) -> list[Tensor]:
        into.features += len(x)
        return features(self, x)

    hook = register_module_forward_hook(lambda module, args, out: _note(into, module, args, out))
    counter = FlopCounterMode(display=False)
    try:
        # other kernels of attention are no products that the counter knows
        with (
            patch.object(LatentDiffusion, "copy", counted),
            patch.object(RecognizerBNet, "features", seen),
            sdpa_kernel(SDPBackend.MATH),
            counter if operations else nullcontext(),
        ):
            yield
    finally:
        hook.remove()
        into.flops += counter.get_total_flops()


def _note(into: Counts, module: Module, args: tuple[Any, ...], out: Any) -> None:
    if isinstance(module, CLIPTextModel):
        into.texts += len(out[0])  # the ids may be named
    elif isinstance(module, Encoder):
        into.encoded += len(args[0])
    elif isinstance(module, Decoder):
        into.decoded += len(args[0])
    elif isinstance(module, UNet2DModel):
        into.calls += 1
        into.windows += len(args[0])
    elif isinstance(module, UNet2DConditionModel):
        into.calls += 1
        into.denoised += len(args[0])
        # a loss of inner features has no gradient at the output, training has none at the input
        result = out[0] if isinstance(out, tuple) else out.sample
        differentiated = args[0] if args[0].requires_grad else result
        if differentiated.requires_grad:
            differentiated.register_hook(lambda slope: _note_back(into, slope))


def _note_back(into: Counts, slope: Tensor) -> None:
    into.denoised_back += len(slope)
