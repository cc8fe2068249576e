"""Picture styles and degradations; images are float32 HWC RGB in [0, 1], square or not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

STYLES = ("photo", "line drawing", "halftone", "flat colors", "brush strokes")
DEGRADATIONS = ("noise", "sign noise", "noisy pattern", "blur", "jpeg", "low resolution")
GREY = np.array([0.299, 0.587, 0.114], np.float32)


def _line_drawing(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark difference-of-Gaussian lines on tinted paper with faint tone."""
    grey = image @ GREY
    fine, wide = gaussian_filter(grey, 0.7), gaussian_filter(grey, rng.uniform(1.4, 2.0))
    ink = np.clip((fine - wide * 0.985) * rng.uniform(22, 34) + 0.95, 0, 1)
    tone = 0.82 + 0.18 * np.clip(wide * 1.3, 0, 1)
    paper = np.array([1.0, rng.uniform(0.96, 1), rng.uniform(0.88, 1)])
    return (ink * tone)[..., None] * paper


def _halftone(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Printed dots whose size follows the darkness of each color (or of grey)."""
    height, width = image.shape[:2]
    down, right = np.mgrid[0:height, 0:width].astype(np.float32)
    pitch = rng.uniform(3.0, 4.2)
    colored = rng.random() < 0.5
    soft = gaussian_filter(image, (0.8, 0.8, 0)) if colored else gaussian_filter(image @ GREY, 0.8)
    soft = soft.reshape(height, width, -1)
    planes = []
    for i in range(soft.shape[2]):
        turn = np.radians(15 + 30 * i)
        u = right * np.cos(turn) + down * np.sin(turn)
        v = down * np.cos(turn) - right * np.sin(turn)
        dots = 0.5 + 0.25 * (np.cos(2 * np.pi * u / pitch) + np.cos(2 * np.pi * v / pitch))
        planes.append(1 / (1 + np.exp(-(soft[..., i] - 0.08 - 0.84 * dots) * 9)))
    out = np.stack(planes, -1)
    return out if colored else np.repeat(out, 3, -1) * np.array([1, 0.98, 0.93])


def _flat_colors(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Few brightness levels with saturated colors, as a poster."""
    levels = int(rng.integers(4, 7))
    smooth = _kuwahara(image, 2)
    grey = smooth @ GREY
    steps = (np.floor(grey * levels) + 0.5) / levels
    out = smooth * (steps / np.maximum(grey, 0.04))[..., None]
    mean = out.mean(-1, keepdims=True)
    return mean + (out - mean) * 1.4


def _kuwahara(image: np.ndarray, radius: int) -> np.ndarray:
    """Mean of the calmest of four neighbouring windows."""
    height, width = image.shape[:2]
    image = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="edge")
    size, shift = radius + 1, radius // 2 + radius % 2
    mean = uniform_filter(image, (size, size, 0))
    spread = (uniform_filter(image * image, (size, size, 0)) - mean * mean).sum(-1)
    best, out = np.full(spread.shape, np.inf, np.float32), mean.copy()
    for down in (-shift, shift):
        for right in (-shift, shift):
            moved = np.roll(spread, (down, right), (0, 1))
            better = moved < best
            best = np.where(better, moved, best)
            out = np.where(better[..., None], np.roll(mean, (down, right), (0, 1)), out)
    return out[4 : 4 + height, 4 : 4 + width]


def _brush_strokes(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise smeared along the isophotes on top of a Kuwahara-filtered picture."""
    base = _kuwahara(_kuwahara(image, 2), 2)
    grey = gaussian_filter(base @ GREY, 2.0)
    gy, gx = np.gradient(grey)
    size = np.hypot(gx, gy) + 1e-4
    height, width = grey.shape
    down, right = np.mgrid[0:height, 0:width].astype(np.float32)
    noise = gaussian_filter(rng.normal(0, 1, grey.shape), 0.7)
    total, color = np.zeros_like(grey), np.zeros_like(base)
    for step in range(-5, 6):
        row = np.clip(down + step * gx / size, 0, height - 1).astype(int)
        col = np.clip(right - step * gy / size, 0, width - 1).astype(int)
        total, color = total + noise[row, col], color + base[row, col]
    return color / 11 + (0.035 * total / total.std())[..., None]


_STYLE: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "line drawing": _line_drawing, "halftone": _halftone, "flat colors": _flat_colors,
    "brush strokes": _brush_strokes,
}  # fmt: skip


def stylize(image: np.ndarray, style: str, rng: np.random.Generator) -> np.ndarray:
    """The picture in one of ``STYLES``."""
    if style == "photo":
        return image
    return np.clip(_STYLE[style](image, rng), 0, 1).astype(np.float32)


def _band_noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Colored band-passed noise, unit deviation, partly shared between the channels."""
    scale = rng.uniform(0.7, 2.2)
    own, shared = rng.normal(0, 1, shape), rng.normal(0, 1, (*shape[:2], 1))
    stretch = (scale, scale * rng.uniform(1, 2.5), 0)
    raw = own + rng.uniform(0, 1.5) * shared
    band = gaussian_filter(raw, stretch) - gaussian_filter(raw, [2.2 * s for s in stretch])
    if rng.random() < 0.5:
        band = np.tanh(band / band.std() * 2)
    return band / band.std()


def _noise(image: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    return image + rng.normal(0, 0.02 + 0.2 * level, image.shape)


def _sign_noise(image: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    block = int(rng.integers(1, 3))
    coarse = np.sign(rng.normal(0, 1, [-(-n // block) for n in image.shape[:2]] + [3]))
    full = coarse.repeat(block, 0).repeat(block, 1)[: image.shape[0], : image.shape[1]]
    return image + (0.015 + 0.11 * level) * full


def _pattern(image: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    bound = 0.03 + 0.16 * level
    return image + np.clip(0.6 * bound * _band_noise(image.shape, rng), -bound, bound)


def _blur(image: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    sigma = 0.6 + 3.0 * level
    return gaussian_filter(image, (sigma, sigma, 0))


def _jpeg(image: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    buffer = io.BytesIO()
    pixels = Image.fromarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))
    pixels.save(buffer, "JPEG", quality=int(round(45 - 39 * level)))
    return np.asarray(Image.open(buffer), np.float32) / 255


def _low_resolution(image: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    factor = 1.7 + 5 * level
    pixels = Image.fromarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))
    small = pixels.resize((round(width / factor), round(height / factor)), Image.Resampling.BOX)
    kind = Image.Resampling.NEAREST if rng.random() < 0.4 else Image.Resampling.BICUBIC
    return np.asarray(small.resize((width, height), kind), np.float32) / 255


_DEGRADE: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "noise": _noise, "sign noise": _sign_noise, "noisy pattern": _pattern, "blur": _blur,
    "jpeg": _jpeg, "low resolution": _low_resolution,
}  # fmt: skip


def degrade(image: np.ndarray, kind: str, level: float, rng: np.random.Generator) -> np.ndarray:
    """The picture damaged by one of ``DEGRADATIONS``; ``level`` 0 slight .. 1 heavy."""
    return np.clip(_DEGRADE[kind](image, level, rng), 0, 1).astype(np.float32)
