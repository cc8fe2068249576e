"""How models compute: what is narrow, what is recomputed, which kernels; never what is computed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.utils.checkpoint import checkpoint

from diffshortcut import extras
from diffshortcut.errors import UserError

ADAM: dict[str, Any] = {"betas": (0.9, 0.999), "weight_decay": 1e-2, "eps": 1e-8}
Result = TypeVar("Result")
# A power of two, so exact in float32: in float16 a pixel's share of a mean would become zero.
LOSS_SCALE = 2.0**12


def gradients(value: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Of a scalar, scaled on the way; no other tensor gets a gradient."""
    return [slope / LOSS_SCALE for slope in torch.autograd.grad(LOSS_SCALE * value, inputs)]


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Options of speed and memory. Weights that are trained always have float32 masters.

    `autocast` lets products and convolutions compute in 16 bits; `optimizer` adamw8bit keeps
    AdamW's moments in 8 bits (bitsandbytes): both change results. The others change rounding at
    most: `attention` xformers needs CUDA, `gradient_checkpointing` computes the inner values of
    each block a second time instead of keeping them, `recompute_encoder` those of the whole
    autoencoder (the gradient is then taken in two passes, the denoiser's memory freed before the
    encoder's is needed), `channels_last` and `compiled` (torch.compile) choose kernels: the
    former of all nets, or of those that work on images alone.
    """

    autocast: Literal["bfloat16", "float16"] | None = None
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    attention: Literal["sdpa", "xformers"] = "sdpa"
    gradient_checkpointing: bool = False
    recompute_encoder: bool = False
    channels_last: Literal["all", "images"] | None = None
    compiled: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """What products and convolutions compute in."""
        return getattr(torch, self.autocast or "float32")

    @contextmanager
    def computing(self, device: torch.device) -> Iterator[None]:
        """Inside, operations compute in `dtype` where that is safe."""
        narrow = torch.autocast(device.type, self.dtype) if self.autocast else nullcontext()
        with narrow:
            yield

    @contextmanager
    def autoencoding(self, device: torch.device) -> Iterator[None]:
        """As `computing`, but for an autoencoder that leaves the range of float16."""
        with nullcontext() if self.autocast == "float16" else self.computing(device):
            yield

    def recomputed(self, call: Callable[[Tensor], Result], x: Tensor) -> Result:
        """call(x), its inner values computed again for the gradient if that was asked for."""
        if not (self.recompute_encoder and torch.is_grad_enabled() and x.requires_grad):
            return call(x)
        return checkpoint(call, x, use_reentrant=False, preserve_rng_state=False)

    def prepare(self, net: Any) -> Any:
        """Choose a net's kernels, in place; UserError where they cannot be had."""
        if self.channels_last == "all" or (self.channels_last and not hears_text(net)):
            net.to(memory_format=torch.channels_last)
        if self.gradient_checkpointing and getattr(net, "_supports_gradient_checkpointing", False):
            net.enable_gradient_checkpointing()
        if self.attention == "xformers":
            use_xformers(net)
        if self.compiled:  # an autoencoder is not called, its halves are
            for part in (net.encoder, net.decoder) if hasattr(net, "decoder") else (net,):
                part.compile(dynamic=False)
        return net

    def new_optimizer(self, parameters: Iterable[nn.Parameter], rate: float) -> Optimizer:
        """AdamW: beta 0.9 and 0.999, weight decay 0.01, epsilon 1e-8, as all the published code."""
        if self.optimizer == "adamw":
            return AdamW(parameters, lr=rate, fused=True, **ADAM)
        return extras.load("bitsandbytes.optim", "optim8").AdamW8bit(parameters, lr=rate, **ADAM)

    def new_scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Scales the loss of a training in float16, whose small gradients would become 0."""
        return torch.amp.GradScaler(device.type, enabled=self.autocast == "float16")


def hears_text(net: Any) -> bool:
    """Whether a net is told of a prompt: then it is attention more than convolution."""
    return getattr(getattr(net, "config", None), "cross_attention_dim", None) is not None


def use_xformers(net: Any) -> None:
    """Memory-efficient attention of xformers; UserError without it or without CUDA."""
    if not hasattr(net, "enable_xformers_memory_efficient_attention"):
        return  # a text encoder: its sequences are short
    try:
        net.enable_xformers_memory_efficient_attention()
    except (ImportError, ValueError, NotImplementedError) as error:
        raise UserError(
            "precision.attention=xformers needs CUDA and the package xformers"
            " (pip install 'diffshortcut[gpu]'); precision.attention=sdpa needs neither:"
            f" {str(error).splitlines()[0]}"
        ) from error
