"""Similarity transforms of faces: five landmarks to the ArcFace template, and warping.

Pixel coordinates are x right, y down, with pixel centers at integers. A matrix is (2, 3).
"""

import torch
from torch import Tensor
from torch.nn import functional

# left eye, right eye, nose, left and right mouth corner (left in the image) of ArcFace's 112 x 112
ARCFACE = torch.tensor(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    device="cpu",
)


def similarity(source: Tensor, target: Tensor) -> Tensor:
    """The least-squares similarity (rotation, scale, shift) from `source` to `target`, both (k, 2).

    With points as complex numbers it is z -> a z + b, so a is one regression coefficient; this
    equals Umeyama's (1991) solution in two dimensions without reflection.
    """
    z, w = (torch.view_as_complex(p.to(torch.float64).contiguous()) for p in (source, target))
    centered = z - z.mean()
    spread = centered.abs().square().sum().clamp(min=1e-9)
    a = (centered.conj() * (w - w.mean())).sum() / spread
    b = w.mean() - a * z.mean()
    rows = [[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]]
    return torch.stack([torch.stack(row) for row in rows]).to(torch.float32)


def alignment(points: Tensor, size: int) -> Tensor:
    """The transform from an image with landmarks `points` (5, 2) to its aligned size x size crop.

    The template is defined at 112 pixels and scales with `size`.
    """
    return similarity(points.cpu(), ARCFACE * (size / 112))


def invert(matrix: Tensor) -> Tensor:
    """The inverse transform."""
    rotation = torch.linalg.inv(matrix[:, :2])
    return torch.cat([rotation, -rotation @ matrix[:, 2:]], 1)


def warp(image: Tensor, matrix: Tensor, size: int | tuple[int, int]) -> Tensor:
    """(c, h, w) sampled bilinearly at matrix . p for every pixel p of the output; zero outside.

    `size` is a side or (height, width). Differentiable in the image.
    """
    height, width = (size, size) if isinstance(size, int) else size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], -1).to(image)
    places = pixels @ matrix.to(image).T
    extent = torch.tensor([image.shape[-1] - 1, image.shape[-2] - 1]).to(image)
    grid = (places / extent * 2 - 1)[None]
    return functional.grid_sample(image[None], grid, align_corners=True)[0]


def align(image: Tensor, points: Tensor, size: int) -> Tensor:
    """The aligned face (c, size, size) of an image (c, h, w) with landmarks `points` (5, 2)."""
    return warp(image, invert(alignment(points, size)), size)
