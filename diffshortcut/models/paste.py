"""Paste restored faces back into their photo, as CodeFormer's release does.

Masks and places are constant in the images: the gradient of a photo passes the pasted pixels only.
"""

import torch
from torch import Tensor
from torch.nn import functional

from diffshortcut.models.geometry import warp
from diffshortcut.pictures.images import resize

FINE = 2  # the paste happens at so many times the photo's size, then both are averaged down
BORDER = 10  # pixels of the 512 x 512 parsing that are never pasted
PARSE_KERNEL, PARSE_SIGMA = 101, 11.0  # of the parsing's blur, which is applied twice


def paste(image: Tensor, face: Tensor, matrix: Tensor, parsed: Tensor | None = None) -> Tensor:
    """A photo (3, h, w) with its restored face (3, s, s), which `matrix` maps the photo onto.

    The mask is a square that fades at its border and, where the face was `parsed` (1, p, p), also
    ends softly where the face and its hair end.
    """
    fine = (image.shape[-2] * FINE, image.shape[-1] * FINE)
    places = _from_fine(matrix)
    with torch.no_grad():
        side = face.shape[-1]
        mask = square_mask(warp(face.new_ones(1, side, side), places, fine))
        if parsed is not None:
            soft = resize(parse_mask(parsed)[None], side, mode="bilinear")[0]
            mask = torch.minimum(mask, warp(soft, places, fine))
    pasted = functional.avg_pool2d(mask * warp(face, places, fine), FINE)
    return image * (1 - functional.avg_pool2d(mask, FINE)) + pasted


def _from_fine(matrix: Tensor) -> Tensor:
    """`matrix` for pixels FINE times as small: p = (u + 1/2) / FINE - 1/2."""
    shrink = torch.eye(3, device=matrix.device) / FINE
    shrink[:2, 2] = 0.5 / FINE - 0.5
    shrink[2, 2] = 1
    return matrix @ shrink


def square_mask(covered: Tensor) -> Tensor:
    """The soft mask of the pixels (1, h, w) that an aligned square covers.

    Eroded by windows of two pixels of the photo, then of a tenth of its side, and blurred as far.
    """
    inner = _erode(covered, 2 * FINE)
    edge = int(float(inner.sum()) ** 0.5) // 20
    return _blur(_erode(inner, 2 * edge), 2 * edge + 1) if edge else inner


def parse_mask(parsed: Tensor) -> Tensor:
    """The face pixels (1, p, p) of a parsing, blurred twice, without the outer ten pixels."""
    soft = _blur(_blur(parsed, PARSE_KERNEL, PARSE_SIGMA), PARSE_KERNEL, PARSE_SIGMA)
    inner = torch.zeros_like(soft)
    inside = slice(BORDER, -BORDER)
    inner[..., inside, inside] = soft[..., inside, inside]
    return inner


def _erode(mask: Tensor, size: int) -> Tensor:
    """The least of each size x size window; what lies outside does not count."""
    before, after = size // 2, size - 1 - size // 2
    padded = functional.pad(-mask[None], (before, after, before, after), value=-torch.inf)
    rows = functional.max_pool2d(padded, (1, size), stride=1)
    return -functional.max_pool2d(rows, (size, 1), stride=1)[0]


def _blur(mask: Tensor, kernel: int, sigma: float | None = None) -> Tensor:
    """A Gaussian filter; the usual sigma of a kernel is 0.3 ((kernel - 1) / 2 - 1) + 0.8."""
    from kornia.filters import gaussian_blur2d  # half a second, only here

    sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8 if sigma is None else sigma
    return gaussian_blur2d(mask[None], kernel, (sigma, sigma))[0]
