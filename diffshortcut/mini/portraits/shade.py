"""Numba deferred shading: soft skin, hair strands, wet eyes, cloth, one shadowed key light."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from diffshortcut.mini.portraits import albedo
from diffshortcut.mini.portraits.albedo import P_BEARD, P_FRAME, P_HAIR
from diffshortcut.mini.portraits.raster import (
    AO,
    BEARD,
    CLOTH,
    EDGE,
    EYE,
    FRAME,
    HAIR,
    INSIDE,
    LASH,
    LIPS,
    REST,
    SKIN,
    TEETH,
    noise3,
)  # fmt: skip

# Light rows: directions of key, fill, rim; colors of key, fill, rim, sky, ground.
KEY, FILL, RIM, KEY_RGB, FILL_RGB, RIM_RGB, SKY, GROUND, LIGHTS = range(9)


@njit(cache=True, fastmath=True, inline="always")
def _mix3(attrs: np.ndarray, tri: np.ndarray, la: float, lb: float, column: int) -> float:
    lc = 1.0 - la - lb
    return la * attrs[tri[0], column] + lb * attrs[tri[1], column] + lc * attrs[tri[2], column]


@njit(cache=True, fastmath=True)
def shadow_at(flat_x: float, flat_y: float, height: float, depth: np.ndarray) -> float:
    """Share of the key light that arrives (bilinear 4x4 percentage-closer filter), 0..1."""
    size = depth.shape[0]
    lit = 0.0
    total = 0.0
    fx, fy = flat_x - 0.5, flat_y - 0.5
    ix, iy = int(math.floor(fx)), int(math.floor(fy))
    for dj in range(-1, 3):
        for di in range(-1, 3):
            col, row = ix + di, iy + dj
            weight = max(0.0, 2.0 - abs(fx - col)) * max(0.0, 2.0 - abs(fy - row))
            total += weight
            if col < 0 or row < 0 or col >= size or row >= size:
                lit += weight
                continue
            gap = depth[row, col] - height - 0.0035
            lit += weight * min(max(1.0 - gap / 0.004, 0.0), 1.0)
    return lit / total


@njit(cache=True, fastmath=True)
def surface(part: int, x: float, y: float, z: float, tri: np.ndarray, la: float, lb: float,
            attrs: np.ndarray, pal: np.ndarray, num: np.ndarray,
            out: np.ndarray) -> float:  # fmt: skip
    """Albedo into ``out``; returns a part-specific gloss modifier in 0..1."""
    edge = _mix3(attrs, tri, la, lb, EDGE)
    if part == SKIN:
        lips, inside = _mix3(attrs, tri, la, lb, LIPS), _mix3(attrs, tri, la, lb, INSIDE)
        albedo.skin(x, y, z, lips, inside, edge, pal, num, out)
        return lips
    if part == EYE:
        return albedo.eye(x, y, z, pal, num, out)
    if part == HAIR:
        return albedo.hair(x, y, z, P_HAIR, pal, num, out)
    if part == BEARD:
        return albedo.hair(x, y, z, P_BEARD, pal, num, out)
    if part == CLOTH:
        albedo.cloth(x, y, z, edge, pal, num, out)
        return 0.0
    if part == FRAME:
        out[:] = pal[P_FRAME]
        return 1.0
    if part == LASH:
        out[:] = 0.015
    elif part == TEETH:
        out[0], out[1], out[2] = 0.72, 0.66, 0.56
    else:
        out[0], out[1], out[2] = 0.42, 0.13, 0.12
    return 0.0


@njit(cache=True, fastmath=True)
def lobes(part: int, gloss: float) -> tuple[float, float, float]:
    """Specular strength, exponent and light wrap of a part."""
    if part == SKIN:
        return 0.10 + 0.10 * gloss, 18.0 + 14 * gloss, 0.30
    if part == EYE:
        return 1.6, 180.0, 0.35
    if part == FRAME:
        return 0.8, 60.0, 0.1
    if part == TEETH:
        return 0.3, 50.0, 0.4
    return 0.0, 1.0, 0.25


@njit(cache=True, fastmath=True, inline="always")
def _roughen(part: int, x: float, y: float, z: float, nor: np.ndarray) -> None:
    """Perturb the normal of skin and cloth by noise, then normalize."""
    if part == SKIN or part == CLOTH:
        scale = 380.0 if part == SKIN else 60.0
        amount = 0.10 if part == SKIN else 0.35
        tilt = amount * (noise3(x * scale, y * scale, z * scale) - 0.5)
        nor[0] += tilt
        nor[2] -= tilt
    length = math.sqrt(nor[0] ** 2 + nor[1] ** 2 + nor[2] ** 2) + 1e-12
    for c in range(3):
        nor[c] /= length


@njit(cache=True, fastmath=True)
def shade(
    index: np.ndarray, bary: np.ndarray, points: np.ndarray, attrs: np.ndarray, faces: np.ndarray,
    parts: np.ndarray, camera: np.ndarray, lights: np.ndarray, frame: np.ndarray,
    depth: np.ndarray, pal: np.ndarray, num: np.ndarray, image: np.ndarray,
) -> None:  # fmt: skip
    """Overwrite covered pixels of a linear-RGB ``image``; ``frame`` maps world to shadow map."""
    height, width = index.shape
    color, pos, nor, spot = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
    view = np.zeros(3)
    for row in range(height):
        for col in range(width):
            t = index[row, col]
            if t < 0:
                continue
            tri, part = faces[t], parts[t]
            la, lb = bary[row, col, 0], bary[row, col, 1]
            length = 1e-12
            for c in range(3):
                pos[c] = _mix3(points, tri, la, lb, c)
                nor[c] = _mix3(attrs, tri, la, lb, c)
                view[c] = camera[c] - pos[c]
                length += view[c] * view[c]
            x, y = _mix3(attrs, tri, la, lb, REST), _mix3(attrs, tri, la, lb, REST + 1)
            z = _mix3(attrs, tri, la, lb, REST + 2)
            gloss = surface(part, x, y, z, tri, la, lb, attrs, pal, num, color)
            _roughen(part, x, y, z, nor)
            length = math.sqrt(length)
            for c in range(3):
                view[c] /= length
            away = nor[0] * view[0] + nor[1] * view[1] + nor[2] * view[2]
            for c in range(3):
                if away < 0 and part != SKIN:
                    nor[c] = -nor[c]
                spot[c] = frame[c, 3]
                for d in range(3):
                    spot[c] += frame[c, d] * (pos[d] + 0.002 * nor[d])
            lit = shadow_at(spot[0], spot[1], spot[2], depth)
            ao = _mix3(attrs, tri, la, lb, AO)
            light_up(part, gloss, ao, lit, abs(away), nor, view, lights, color, image[row, col])


@njit(cache=True, fastmath=True)
def light_up(
    part: int, gloss: float, ao: float, lit: float, facing: float, nor: np.ndarray,
    view: np.ndarray, lights: np.ndarray, color: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Sum ambient, key, fill and rim light on one surface point into ``out``."""
    strength, power, wrap = lobes(part, gloss)
    hairy = part == HAIR or part == BEARD
    up = 0.5 + 0.5 * nor[2]
    bounce = 0.05 * (1 - facing) ** 3 * ao if part == SKIN else 0.0
    for c in range(3):
        sky = lights[GROUND, c] * (1 - up) + lights[SKY, c] * up
        out[c] = color[c] * ao * ao * sky + bounce * lights[SKY, c]
    for light in range(3):
        hx, hy = lights[light, 0] + view[0], lights[light, 1] + view[1]
        hz = lights[light, 2] + view[2]
        scale = 1 / (math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9)
        cosine = nor[0] * lights[light, 0] + nor[1] * lights[light, 1] + nor[2] * lights[light, 2]
        seen = (lit if light == 0 else 1.0) * (0.35 + 0.65 * ao)
        shine = 0.0
        if hairy:
            lift = hz * scale - 0.62
            shine = 0.13 * gloss * math.exp(-lift * lift * 9) * max(cosine + 0.2, 0.0)
            shine *= 0.35 + 2.2 * math.sqrt(color[1])
        elif strength > 0 and cosine > -0.05:
            peak = max((nor[0] * hx + nor[1] * hy + nor[2] * hz) * scale, 0.0)
            graze = 1 - max((view[0] * hx + view[1] * hy + view[2] * hz) * scale, 0.0)
            shine = strength * (0.35 + 0.65 * graze**4) * peak**power
            shine *= min(cosine * 4 + 0.3, 1.0)
        for c in range(3):
            soft = wrap * (1.0 - 0.3 * c) if part == SKIN else wrap
            diffuse = max((cosine + soft) / (1 + soft), 0.0)
            through = 0.4 * math.sqrt(seen) + 0.6 * seen if part == SKIN and c == 0 else seen
            out[c] += lights[KEY_RGB + light, c] * through * (color[c] * diffuse + shine)
