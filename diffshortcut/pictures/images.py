"""Images on disk and in memory. Everywhere a batch is float32 NCHW RGB in [0, 1]."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad

from diffshortcut.errors import UserError
from diffshortcut.pictures.decode import SUFFIXES, upright

LEVELS = 255  # of 8 bits: the largest, which is 1 of a batch


def batches(count: int, size: int | None) -> list[range]:
    """The indices of `count` images in parts of at most `size`; None: all in one."""
    size = size or max(count, 1)
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def read(path: Path, size: int | None = None) -> Tensor:
    """The image of a file as (3, h, w); with `size`: square center crop, then size x size.

    EXIF rotation is applied, 16-bit and grey images are widened to RGB, transparency is laid on
    white. UserError naming the file if it cannot be decoded.
    """
    image = torch.from_numpy(_rgb(upright(path))).permute(2, 0, 1).contiguous()
    return image if size is None else resize(center_square(image)[None], size)[0]


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode == "I":
        grey = np.clip(np.asarray(image, dtype=np.float32) / 65535, 0, 1)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.asarray(image, dtype=np.float32) / LEVELS


def files(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name; UserError if it is missing or has none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    visible = (p for p in folder.iterdir() if not p.name.startswith("."))
    found = sorted(p for p in visible if p.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"{folder}: no images ({', '.join(sorted(SUFFIXES))})")
    return found


def read_folder(folder: Path, size: int | None = None) -> Tensor:
    """All images of a folder as (n, 3, h, w), sorted by name; UserError if their sizes differ."""
    return read_files(files(folder), size)


def read_files(paths: Sequence[Path], size: int | None = None) -> Tensor:
    """The images of files as (n, 3, h, w), in order; UserError if their sizes differ."""
    images = [read(path, size) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise UserError(f"{path}: size differs from that of {paths[0].name}")
    return torch.stack(images)


def write_folder(
    folder: Path, images: Tensor | Sequence[Tensor], names: Sequence[str] | None = None
) -> list[Path]:
    """Write (n, 3, h, w) as 8-bit PNG; a name's suffix becomes .png; default 00.png, 01.png ...

    UserError naming the image if it is not finite.
    """
    stems = [Path(name).stem for name in names or [f"{i:02d}" for i in range(len(images))]]
    if len(set(stems)) < len(stems):
        raise UserError(f"two images of {folder} have the same name without suffix")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.png" for stem in stems]
    for path, image in zip(paths, images, strict=True):
        if not torch.isfinite(image).all():
            raise UserError(f"{path.name}: the image holds NaN or infinity")
        Image.fromarray(to_uint8(image).permute(1, 2, 0).cpu().numpy()).save(path)
    return paths


def to_uint8(x: Tensor) -> Tensor:
    """[0, 1] to 8-bit levels, rounded to the nearest and clipped (never wrapped)."""
    return (x * LEVELS).round().clamp(0, LEVELS).to(torch.uint8)


def quantize(x: Tensor) -> Tensor:
    """The image as an 8-bit file would give it back."""
    return to_uint8(x).to(torch.float32) / LEVELS


def center_square(x: Tensor) -> Tensor:
    """The largest centered square of (..., h, w)."""
    height, width = x.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return x[..., top : top + side, left : left + side]


def resize(
    x: Tensor, size: int | tuple[int, int], mode: str = "bicubic", antialias: bool = True
) -> Tensor:
    """(n, 3, h, w) to `size` (a side, or height and width), clipped to [0, 1]; differentiable."""
    target = (size, size) if isinstance(size, int) else tuple(size)
    if tuple(x.shape[-2:]) == target:
        return x
    return interpolate(x, target, mode=mode, antialias=antialias).clamp(0, 1)


def grown(images: Tensor, *, least: int = 1, multiple: int = 1) -> Tensor:
    """Images with the border repeated to the right and below.

    Their sides are then `least` pixels or more, and a multiple of `multiple`.
    """
    wanted = [-(-max(side, least) // multiple) * multiple for side in images.shape[-2:]]
    below, right = (want - side for want, side in zip(wanted, images.shape[-2:], strict=True))
    return pad(images, (0, right, 0, below), mode="replicate") if below or right else images


def cropped(x: Tensor, like: Tensor) -> Tensor:
    """What `grown` has added is cut off again: the height and width of `like`."""
    return x[..., : like.shape[-2], : like.shape[-1]]


def require_like(found: Any, images: Tensor, method: str) -> Tensor:
    """`found`, what a `method` gave for `images`; UserError if it is not of their shape."""
    if not isinstance(found, Tensor) or found.shape != images.shape:
        kind = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UserError(f"the {method} gave {kind}, not images {tuple(images.shape)}")
    return found


def fraction(x: Tensor, divisor: int) -> tuple[int, int]:
    """Height and width of (..., h, w) divided and rounded down, at least one pixel each."""
    return max(x.shape[-2] // divisor, 1), max(x.shape[-1] // divisor, 1)
