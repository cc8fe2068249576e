"""Numba z-buffer for triangle meshes: pixels hold the nearest triangle and its barycentrics."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

SKIN, EYE, TEETH, TONGUE, LASH, HAIR, CLOTH, BEARD, FRAME = range(9)
# Vertex attribute columns: normal, rest position, occlusion, lips, mouth inside, edge field.
FRONT = -1.0  # sign of the screen area of a triangle that faces the camera (rows grow down)
NORMAL, REST, AO, LIPS, INSIDE, EDGE, COLUMNS = 0, 3, 6, 7, 8, 9, 10


@njit(cache=True, inline="always")
def hash01(i: int, j: int, k: int) -> float:
    """Uniform pseudo-random number of a lattice point."""
    n = (i * 73856093) ^ (j * 19349663) ^ (k * 83492791)
    n = (n ^ (n >> 13)) & 0x7FFFFFFF
    n = (n * 1274126177) & 0x7FFFFFFF
    return ((n ^ (n >> 15)) & 0xFFFF) / 65535.0


@njit(cache=True, fastmath=True)
def noise3(x: float, y: float, z: float) -> float:
    """Smooth value noise in [0, 1] with a unit lattice."""
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    u, v, w = x - i, y - j, z - k
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    i, j, k = int(i), int(j), int(k)
    total = 0.0
    for di in range(2):
        for dj in range(2):
            for dk in range(2):
                weight = (u if di else 1 - u) * (v if dj else 1 - v) * (w if dk else 1 - w)
                total += weight * hash01(i + di, j + dj, k + dk)
    return total


@njit(cache=True, fastmath=True)
def strands(x: float, y: float, z: float, curl: float) -> float:
    """Noise stretched along the fall of the hair, in [0, 1]; ``curl`` 0 straight, 1 curly."""
    angle = math.atan2(x, y + 0.055)
    wave = curl * 0.25 * math.sin(z * 160.0 + 3.0 * noise3(angle * 9.0, z * 40.0, 0.0))
    if z > 0.80:
        fine = noise3(x * 900.0, y * 120.0, z * 120.0)
    else:
        fine = noise3((angle + wave) * 55.0, z * (18.0 + 120.0 * curl), 1.0)
    return 0.6 * fine + 0.4 * noise3((angle + wave) * 20.0 + x * 100, z * 30.0, 7.0)


@njit(cache=True, fastmath=True)
def vertex_normals(points: np.ndarray, faces: np.ndarray, out: np.ndarray) -> None:
    """Area-weighted unit vertex normals into ``out`` (n, 3)."""
    out[:] = 0
    for t in range(len(faces)):
        a, b, c = faces[t]
        e = points[b] - points[a]
        f = points[c] - points[a]
        nx = e[1] * f[2] - e[2] * f[1]
        ny = e[2] * f[0] - e[0] * f[2]
        nz = e[0] * f[1] - e[1] * f[0]
        for v in (a, b, c):
            out[v, 0] += nx
            out[v, 1] += ny
            out[v, 2] += nz
    for v in range(len(out)):
        length = math.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2) + 1e-20
        out[v] /= length


@njit(cache=True, fastmath=True)
def cut(part: int, edge: float, x: float, y: float, z: float, curl: float) -> bool:
    """Whether a surface point of a shell is cut away (hairline, beard rim, neckline)."""
    if part == HAIR and curl > 0.5:
        return edge + 0.012 * (noise3(x * 330, y * 330, z * 330) - 0.5) < 0
    if part == HAIR:
        return edge + 0.012 * (strands(x, y, z, curl) - 0.55) < 0
    if part == BEARD:
        return edge + 0.010 * (noise3(x * 500, y * 500, z * 250) - 0.6) < 0
    if part == LASH:
        return noise3(x * 3100, y * 900, z * 300) < 0.5
    return edge < 0


@njit(cache=True, fastmath=True)
def rasterize(
    screen: np.ndarray, attrs: np.ndarray, faces: np.ndarray, parts: np.ndarray, curl: float,
    depth: np.ndarray, index: np.ndarray, bary: np.ndarray,
) -> None:  # fmt: skip
    """Fill ``depth`` (1/z, larger is nearer), ``index`` (triangle or -1) and ``bary`` (h, w, 2).

    ``screen`` is (n, 3): column, row, 1/z. Barycentrics are perspective-correct.
    """
    height, width = depth.shape
    for t in range(len(faces)):
        a, b, c = faces[t]
        xa, ya, wa = screen[a, 0], screen[a, 1], screen[a, 2]
        xb, yb, wb = screen[b, 0], screen[b, 1], screen[b, 2]
        xc, yc, wc = screen[c, 0], screen[c, 1], screen[c, 2]
        area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        if abs(area) < 1e-9 or (parts[t] in (SKIN, CLOTH) and area * FRONT < 0):
            continue
        left = max(0, int(math.ceil(min(xa, xb, xc) - 0.5)))
        right = min(width - 1, int(math.floor(max(xa, xb, xc) - 0.5)))
        top = max(0, int(math.ceil(min(ya, yb, yc) - 0.5)))
        low = min(height - 1, int(math.floor(max(ya, yb, yc) - 0.5)))
        part = parts[t]
        shell = part == HAIR or part == BEARD or part == LASH or part == CLOTH
        for row in range(top, low + 1):
            for col in range(left, right + 1):
                px, py = col + 0.5, row + 0.5
                la = ((xb - px) * (yc - py) - (xc - px) * (yb - py)) / area
                lb = ((xc - px) * (ya - py) - (xa - px) * (yc - py)) / area
                lc = 1.0 - la - lb
                if la < 0 or lb < 0 or lc < 0:
                    continue
                w = la * wa + lb * wb + lc * wc
                if w <= depth[row, col]:
                    continue
                la, lb = la * wa / w, lb * wb / w
                lc = 1.0 - la - lb
                if shell:
                    edge = la * attrs[a, EDGE] + lb * attrs[b, EDGE] + lc * attrs[c, EDGE]
                    x = la * attrs[a, REST] + lb * attrs[b, REST] + lc * attrs[c, REST]
                    y = la * attrs[a, 4] + lb * attrs[b, 4] + lc * attrs[c, 4]
                    z = la * attrs[a, 5] + lb * attrs[b, 5] + lc * attrs[c, 5]
                    if cut(part, edge, x, y, z, curl):
                        continue
                depth[row, col] = w
                index[row, col] = t
                bary[row, col, 0] = la
                bary[row, col, 1] = lb


@njit(cache=True, fastmath=True)
def depth_map(screen: np.ndarray, faces: np.ndarray, depth: np.ndarray) -> None:
    """Largest third coordinate per pixel (orthographic), for shadows and occlusion."""
    height, width = depth.shape
    for t in range(len(faces)):
        a, b, c = faces[t]
        xa, ya, xb, yb = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        xc, yc = screen[c, 0], screen[c, 1]
        area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        if abs(area) < 1e-9:
            continue
        left, right = max(0, int(min(xa, xb, xc) + 0.5)), min(width - 1, int(max(xa, xb, xc)))
        top, low = max(0, int(min(ya, yb, yc) + 0.5)), min(height - 1, int(max(ya, yb, yc)))
        for row in range(top, low + 1):
            for col in range(left, right + 1):
                px, py = col + 0.5, row + 0.5
                la = ((xb - px) * (yc - py) - (xc - px) * (yb - py)) / area
                lb = ((xc - px) * (ya - py) - (xa - px) * (yc - py)) / area
                if la < -0.01 or lb < -0.01 or la + lb > 1.01:
                    continue
                w = la * screen[a, 2] + lb * screen[b, 2] + (1 - la - lb) * screen[c, 2]
                if w > depth[row, col]:
                    depth[row, col] = w
