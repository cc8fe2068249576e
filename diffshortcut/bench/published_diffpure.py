"""Plain DiffPure and DDSPure of whole pictures; see published_purifiers.py for what all loops keep.

A picture after the other, and for each the sampler's formulas step by step, with the posterior's
coefficients looked up in tables and every value of a step computed for this picture alone. Written
(bc77ff0, November 27) after ours had batches and kernels in channels-last order.
"""

from functools import partial

import torch
from torch import Tensor

from diffshortcut.bench.published_purifiers import each
from diffshortcut.models.pixel_diffusion import PixelDiffusion
from diffshortcut.pictures.images import resize
from diffshortcut.purifiers.ddspure import DDSPure
from diffshortcut.purifiers.diffpure import PixelDiffPure
from diffshortcut.seeding import Draws


def pixel_diffpure(purifier: PixelDiffPure, images: Tensor, draws: Draws) -> Tensor:
    """x_t of t - 1, then p_sample down to 0 [3.4]."""
    return each(images, draws, partial(_whole, purifier.diffpure.model, purifier.t, False))


def ddspure(purifier: DDSPure, images: Tensor, draws: Draws) -> Tensor:
    """The same from t*, or what the denoiser takes x_t* for at once [3.6]."""
    start, model = purifier.t_star + 1, purifier.diffpure.model
    return each(images, draws, partial(_whole, model, start, purifier.one_shot))


@torch.no_grad()
def _whole(model: PixelDiffusion, t: int, one_shot: bool, image: Tensor, draws: Draws) -> Tensor:
    """(1, 3, h, w) at the model's size, purified, and back."""
    y = 2 * resize(image, model.resolution) - 1
    tables = Tables(model.alpha_bar)
    kept, drawn = model.alpha_bar[t - 1].item(), draws.normal("diffuse", y.shape[1:], 1, 0)
    y = kept**0.5 * y + (1 - kept) ** 0.5 * drawn
    for i in range(t - 1, -1, -1):
        noise, fraction = model.unet(y, torch.tensor([i])).sample.chunk(2, dim=1)
        clean = (tables.of_noisy[i] * y - tables.of_noise[i] * noise).clamp(-1, 1)
        if one_shot:
            y = clean
            break
        mean = tables.mean_clean[i] * clean + tables.mean_noisy[i] * y
        share = (fraction + 1) / 2
        deviation = (share * tables.most[i] + (1 - share) * tables.least[i]).div(2).exp()
        drawn = draws.normal("denoise", y.shape[1:], 1, i)
        y = mean + (i > 0) * deviation * drawn
    y = ((y + 1) / 2).clamp(0, 1)
    return resize(y, (image.shape[-2], image.shape[-1]))


class Tables:
    """The coefficients of every timestep, as floats."""

    def __init__(self, kept: Tensor) -> None:
        before = torch.cat([torch.ones(1, dtype=kept.dtype), kept[:-1]])
        beta = 1 - kept / before
        posterior = beta * (1 - before) / (1 - kept)
        posterior[0] = posterior[1]
        self.of_noisy = (1 / kept).sqrt().tolist()
        self.of_noise = (1 / kept - 1).sqrt().tolist()
        self.mean_clean = (beta * before.sqrt() / (1 - kept)).tolist()
        self.mean_noisy = ((1 - before) * (1 - beta).sqrt() / (1 - kept)).tolist()
        self.least, self.most = posterior.log().tolist(), beta.log().tolist()
