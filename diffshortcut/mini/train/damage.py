"""Random damage in torch, drawn per image: what the restorer and the upscaler learn to undo."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


def smooth_noise(shape: torch.Size, rng: torch.Generator) -> Tensor:
    """Unit-variance colored noise with a grain of 1, 2 or 4 pixels, as adversarial ones have."""
    grain = 2 ** int(torch.randint(3, (1,), generator=rng))
    n, c, h, w = shape
    noise = torch.randn(n, c, h // grain, w // grain, generator=rng)
    if grain > 1:
        noise = functional.interpolate(noise, size=(h, w), mode="bicubic")
    return noise / noise.std()


def blurred(x: Tensor, rng: torch.Generator) -> Tensor:
    """Shrunk by 1.5-4 and enlarged again."""
    size = int(x.shape[-1] / float(torch.empty(1).uniform_(1.5, 4.0, generator=rng)))
    small = functional.interpolate(x, size=(size, size), mode="bicubic", antialias=True)
    return functional.interpolate(small, size=x.shape[-2:], mode="bicubic").clamp(0, 1)


def compressed(x: Tensor, rng: torch.Generator) -> Tensor:
    """JPEG at a quality of 20-70."""
    out = []
    for image in x:
        buffer, quality = io.BytesIO(), int(torch.randint(20, 70, (1,), generator=rng))
        pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        out.append(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).float() / 255)
    return torch.stack(out)


def noisy(x: Tensor, rng: torch.Generator) -> Tensor:
    """Colored noise of a deviation of 0.02-0.1."""
    amount = 0.02 + 0.08 * float(torch.rand(1, generator=rng))
    return (x + amount * smooth_noise(x.shape, rng)).clamp(0, 1)


def damage(x: Tensor, rng: torch.Generator) -> Tensor:
    """Images (n, 3, h, w) in [0, 1], each with a mix of blur, noise and JPEG (some with none)."""
    out = []
    for image in x.split(1):
        dice = torch.rand(3, generator=rng)
        if dice[0] < 0.3:
            image = blurred(image, rng)
        if dice[1] < 0.65:
            image = noisy(image, rng)
        if dice[2] < 0.3:
            image = compressed(image, rng)
        out.append(image)
    return torch.cat(out)
