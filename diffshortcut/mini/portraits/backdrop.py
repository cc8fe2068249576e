"""Backgrounds: plain, gradient, bokeh, stripes, wall, soft blobs (linear RGB, HWC)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import zoom

from diffshortcut.mini.portraits.view import BACKGROUNDS, View


def _cloud(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise in about [0, 1]."""
    coarse = rng.random((cells + 1, cells + 1))
    wide = zoom(coarse, size / cells, order=1)
    return wide[:size, :size]


def backdrop(view: View, size: int) -> np.ndarray:
    """The background image of a view."""
    rng = np.random.default_rng([view.seed, 4])
    first = np.asarray(BACKGROUNDS[view.back_color]) ** 2.2
    second = np.asarray(view.back_second) ** 2.2
    down, right = np.mgrid[0:size, 0:size] / size
    turn = rng.uniform(0, 2 * np.pi)
    ramp = 0.5 + (down - 0.5) * np.sin(turn) + (right - 0.5) * np.cos(turn)
    kind = view.background
    if kind == "plain":
        share = 0.25 * np.hypot(down - 0.45, right - 0.5 + 0.3 * np.cos(turn))
    elif kind == "stripes":
        wide = rng.uniform(4, 12)
        share = 0.5 + 0.5 * np.tanh(4 * np.sin(2 * np.pi * wide * (ramp - 0.5)))
    elif kind == "blobs":
        share = np.clip((_cloud(rng, size, 5) - 0.5) * 2.5 + 0.5, 0, 1)
    elif kind == "wall":
        share = 0.6 * _cloud(rng, size, 64) + 0.4 * _cloud(rng, size, 7) + 0.3 * ramp - 0.3
    else:
        share = np.clip(ramp * 1.2 - 0.1, 0, 1)
    image = first + (second - first) * np.clip(share, 0, 1)[..., None]
    if kind == "bokeh":
        for _ in range(int(rng.integers(8, 22))):
            y, x, radius = rng.random(), rng.random(), rng.uniform(0.025, 0.09)
            disk = 0.5 - 0.5 * np.tanh((np.hypot(down - y, right - x) / radius - 1) * 7)
            tint = np.clip(first * 1.6 + rng.uniform(0, 0.5, 3), 0, 1.2)
            image = image + disk[..., None] * (tint - image) * rng.uniform(0.15, 0.5)
    return np.ascontiguousarray(image)
