"""Gaussian blur, differentiable, with lengths given at 512 pixels."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

REFERENCE = 512  # the resolution at which the methods' lengths in pixels are defined
LEAST = 3  # of a kernel: one of 1 would be widened, and sigma with it, to more blur than this


def scaled_kernel(kernel: int, resolution: int) -> int:
    """A kernel width given at 512 pixels at another resolution: odd and at least LEAST."""
    half = round((kernel * resolution / REFERENCE - 1) / 2)
    return 2 * max(half, 1) + 1


def gaussian_blur(x: Tensor, *, kernel: int, sigma: Tensor | float) -> Tensor:
    """Blur (n, c, h, w) with a kernel x kernel Gaussian, `sigma` for all or one per image (n,).

    Both lengths are given at 512 pixels, the kernel at least LEAST. It is scaled to the size of the
    images, and sigma with it, so that their ratio stays when the kernel has reached its smallest
    width. Borders are reflected.
    """
    n, c, h, w = x.shape
    width = scaled_kernel(kernel, min(h, w))
    spread = torch.as_tensor(sigma, dtype=x.dtype, device=x.device) * (width / kernel)
    offsets = torch.arange(width, dtype=x.dtype, device=x.device) - width // 2
    taps = torch.softmax(-0.5 * (offsets / spread.expand(n)[:, None]) ** 2, dim=1)
    taps = taps.repeat_interleave(c, dim=0)[:, None, None]
    x = pad(x, [width // 2] * 4, mode="reflect").reshape(1, n * c, h + width - 1, w + width - 1)
    x = conv2d(conv2d(x, taps, groups=n * c), taps.transpose(2, 3), groups=n * c)
    return x.reshape(n, c, h, w)
