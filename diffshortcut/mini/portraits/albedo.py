"""Numba surface colors per part: skin, eye, hair, cloth (linear RGB from template positions)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from diffshortcut.mini.portraits.raster import noise3, strands

# Rows of the palette and entries of the numbers given to the shader.
P_SKIN, P_LIPS, P_HAIR, P_BROW, P_EYE, P_FRAME, P_CLOTH, P_CLOTH2, P_BEARD, PALETTE = range(10)
(N_CURL, N_BROW, N_ARCH, N_FRECKLES, N_STUBBLE, N_GAZE_X, N_GAZE_Z, N_CLOTH, N_EYE_X, N_EYE_Y,
 N_EYE_Z, N_MOLES, N_MOLE0) = range(13)  # fmt: skip
NUMBERS = 24


@njit(cache=True, fastmath=True, inline="always")
def _bump(value: float, width: float) -> float:
    """Gaussian of a distance."""
    return math.exp(-value * value / (width * width))


@njit(cache=True, fastmath=True, inline="always")
def _step(value: float) -> float:
    """Smoothstep of a value clamped to 0..1."""
    t = min(max(value, 0.0), 1.0)
    return t * t * (3 - 2 * t)


@njit(cache=True, fastmath=True)
def brow_cover(x: float, y: float, z: float, num: np.ndarray) -> float:
    """Opacity of the eyebrows at a template position."""
    side = abs(x)
    if y > -0.09 or side > 0.062 or side < 0.006 or z < 0.735 or z > 0.768:
        return 0.0
    along = (side - 0.010) / 0.042
    line = 0.7475 + (0.002 + 0.003 * num[N_ARCH]) * math.sin(math.pi * min(max(along, 0), 1) * 0.8)
    line -= 0.003 * max(along - 0.6, 0.0)
    width = 0.0036 * num[N_BROW] * (1.0 - 0.55 * max(along - 0.3, 0.0))
    ends = _step((along + 0.08) * 6) * _step((1.12 - along) * 5)
    slant = z - line
    hair = noise3(side * 900 + slant * 500, slant * 160, 3.0)
    return ends * _step(1.35 - abs(slant) / width) * min(0.45 + 0.75 * hair, 1.0)


@njit(cache=True, fastmath=True)
def skin(
    x: float, y: float, z: float, lips: float, inside: float, beard: float,
    pal: np.ndarray, num: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Skin color with blush, pores, freckles, moles, stubble, lips, brows and mouth interior."""
    rough = noise3(x * 90, y * 90, z * 90) - 0.5
    fine = noise3(x * 520, y * 520, z * 520) - 0.5
    side = abs(x)
    red = 0.9 * _bump(side - 0.042, 0.016) * _bump(z - 0.695, 0.018)
    red += 0.8 * _bump(x, 0.012) * _bump(z - 0.70, 0.014) + 0.5 * (side > 0.072)
    red = red * (y < -0.03) + 0.5 * rough
    tone = 1 + 0.12 * rough + 0.10 * fine
    out[0] = pal[P_SKIN, 0] * tone * (1 + 0.06 * red)
    out[1] = pal[P_SKIN, 1] * tone * (1 - 0.13 * red)
    out[2] = pal[P_SKIN, 2] * tone * (1 - 0.13 * red)
    lid = _bump(side - 0.031, 0.013) * _bump(z - 0.722, 0.010) * (y < -0.1)
    for c in range(3):
        out[c] *= 1 - lid * (0.10 + 0.05 * c)
    if num[N_FRECKLES] > 0 and y < -0.1 and z > 0.66:
        spot = noise3(x * 330, y * 330, z * 330) - 0.72 + 0.08 * num[N_FRECKLES]
        dark = num[N_FRECKLES] * _step(spot * 8) * _bump(z - 0.70, 0.03)
        for c in range(3):
            out[c] *= 1 - dark * (0.25 + 0.15 * c)
    for m in range(int(num[N_MOLES])):
        mx, mz = num[N_MOLE0 + 2 * m], num[N_MOLE0 + 2 * m + 1]
        dark = 0.75 * _step(1.8 - math.hypot(x - mx, z - mz) / 0.0013) * (y < -0.08)
        for c in range(3):
            out[c] *= 1 - dark
    stubble = num[N_STUBBLE] * _step((beard + 0.004) / 0.02)
    cover = 0.0
    if stubble > 0.01:
        cover = stubble * (0.35 + 0.65 * (noise3(x * 1300, y * 1300, z * 1300) > 0.5))
    for c in range(3):
        out[c] += (pal[P_BEARD, c] - out[c]) * cover
        out[c] += (pal[P_LIPS, c] * (1 + 0.25 * fine) - out[c]) * _step((lips - 0.2) / 0.6)
    brow = brow_cover(x, y, z, num)
    for c in range(3):
        out[c] += (pal[P_BROW, c] - out[c]) * 0.92 * brow
    deep = _step((inside - 0.35) / 0.4)
    if deep > 0:
        out[0] += (0.16 - out[0]) * deep
        out[1] += (0.035 - out[1]) * deep
        out[2] += (0.035 - out[2]) * deep


@njit(cache=True, fastmath=True)
def eye(x: float, y: float, z: float, pal: np.ndarray, num: np.ndarray, out: np.ndarray) -> float:
    """Eyeball color; returns how iris-like (glossy) the point is."""
    side = 1.0 if x > 0 else -1.0
    dx = x - side * num[N_EYE_X]
    dy, dz = y - num[N_EYE_Y], z - num[N_EYE_Z]
    length = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
    gx, gz = dx / length - num[N_GAZE_X], dz / length - num[N_GAZE_Z]
    r = math.hypot(gx, gz) / 0.44
    if dy > 0:
        r = 9.0
    vein = noise3(gx * 9, gz * 9, side * 3)
    shade = 0.80 - 0.35 * _step((abs(dx / length) - 0.45) / 0.5)
    shade -= 0.30 * _step((dz / length - 0.1) / 0.4)
    white = (0.80, 0.74, 0.71)
    fiber = 0.65 + 0.7 * noise3(math.atan2(gz, gx) * 6.0, r * 2.5, 5.0)
    fiber *= 1.35 - 0.5 * r + 0.3 * (gz < 0)
    rim = 1 - 0.75 * _step((r - 0.72) / 0.25)
    pupil = _step((r - 0.36) / 0.07)
    ball = _step((r - 0.95) / 0.12)
    for c in range(3):
        iris = pal[P_EYE, c] * fiber * rim * pupil + 0.004
        sclera = white[c] * shade * (1 - 0.04 * c * vein)
        out[c] = iris + (sclera - iris) * ball
    return 1 - ball


@njit(cache=True, fastmath=True)
def hair(x: float, y: float, z: float, row: int, pal: np.ndarray, num: np.ndarray,
         out: np.ndarray) -> float:  # fmt: skip
    """Hair color; returns the strand value in 0..1 that also modulates the highlight."""
    if row == P_BEARD:
        value = 0.7 * noise3(x * 800, y * 500, z * 260) + 0.3 * noise3(x * 200, y * 200, z * 120)
    else:
        value = strands(x, y, z, num[N_CURL])
        if num[N_CURL] > 0.5:
            value = 0.4 * value + 0.6 * noise3(x * 260, y * 260, z * 260)
    for c in range(3):
        out[c] = pal[row, c] * (0.45 + 1.1 * value)
    return value


@njit(cache=True, fastmath=True)
def cloth(x: float, y: float, z: float, edge: float, pal: np.ndarray, num: np.ndarray,
          out: np.ndarray) -> None:  # fmt: skip
    """Garment color by kind: 3 suit with shirt and tie, 4 stripes, 5 knit, otherwise plain."""
    kind = int(num[N_CLOTH])
    row = P_CLOTH
    side = abs(x)
    tone = 0.92 + 0.16 * noise3(x * 300, y * 300, z * 300)
    if kind == 4 and math.floor(z * 42) % 2 == 0:
        row = P_CLOTH2
    if kind == 5:
        tone *= 0.78 + 0.3 * (0.5 + 0.5 * math.sin(z * 1500 + 2 * math.sin(x * 800)))
    tone *= 0.72 + 0.28 * _step((edge - 0.004) * 400) if edge < 0.012 and kind != 3 else 1.0
    if kind == 3 and y < 0.0:
        lapel = 0.055 - 0.42 * max(0.56 - z, 0.0)
        if side < lapel:
            row = P_CLOTH2
            if side < 0.007 + 0.06 * max(0.55 - z, 0.0) and z < 0.552:
                row = P_FRAME
        elif side < lapel + 0.03 and z > 0.47:
            tone *= 1.25 if side > lapel + 0.0035 else 0.5
        if side < lapel and edge < 0.016:
            tone *= 0.9
    for c in range(3):
        out[c] = pal[row, c] * tone
