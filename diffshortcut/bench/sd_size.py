"""The same counts at the size of Stable Diffusion 2.1, without weights and without computing."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.pgd import gradient_of
from diffshortcut.bench import published
from diffshortcut.bench.counts import Counts, counting
from diffshortcut.models import guided_diffusion, released
from diffshortcut.models.ldm import LatentDiffusion, load
from diffshortcut.report.sheet import Sheet
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="bench", person="nobody")
IMAGES, PIXELS = 4, 512
PROMPT = "a photo of sks person"


def model() -> LatentDiffusion:
    """Stable Diffusion 2.1-base's shapes without values; schedule and tokens are the mini zoo's."""
    mini = load(weights="mini:mini_a")
    with torch.device("meta"):
        nets = {part: released.net("sd21base", part) for part in released.NETS}
    return LatentDiffusion(**nets, tokenizer=mini.tokenizer, scheduler=mini.scheduler)


def tflop(name: str, back_to: Literal["input", "weights"] | None = None) -> float:
    """Of one picture through a net of NETS: forward, or forward and backward."""
    with torch.device("meta"):
        net, x, *rest = NETS[name]()
        net.requires_grad_(back_to == "weights")
        x.requires_grad_(back_to == "input")
        counts = Counts()
        with counting(counts):
            output = net(x, *rest)
            if back_to:
                (output if isinstance(output, Tensor) else output[0]).sum().backward()
    return counts.flops / 1e12


def _denoiser(name: str, channels: int, side: int, *more: Tensor) -> tuple[Any, ...]:
    z, context = torch.empty(1, channels, side, side), torch.empty(1, 77, 1024)
    return (released.net(name, "unet"), z, torch.zeros(1), context, *more)


def _vae(part: str, *shape: int) -> tuple[Any, ...]:
    return getattr(released.net("sd21base", "vae"), part), torch.empty(shape)


NETS: dict[str, Callable[[], tuple[Any, ...]]] = {  # with their input, of 512 pixels where not said
    "unet": lambda: _denoiser("sd21base", 4, 64),
    "vae encoder": lambda: _vae("encoder", 1, 3, PIXELS, PIXELS),
    "vae decoder": lambda: _vae("decoder", 1, 4, 64, 64),
    "text encoder": lambda: (released.net("sd21base", "text_encoder"), torch.zeros(1, 77).long()),
    "pixel model": lambda: (guided_diffusion.build(), torch.empty(1, 3, 256, 256), torch.zeros(1)),
    "upscaler": lambda: _denoiser("sd_x4_upscaler", 7, 128, torch.zeros(1).long()),  # 128 to 512
}


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
