"""Meshes beside the morphable head: long-hair curtain, bun, spectacles (metres)."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffshortcut.mini.portraits.fields import AXIS_Y
from diffshortcut.mini.portraits.mesh import HeadMesh
from diffshortcut.mini.portraits.person import Person
from diffshortcut.mini.portraits.raster import FRAME, HAIR


def _grid(rows: int, cols: int, wrap: bool = False) -> np.ndarray:
    """Triangles of a rows x cols vertex grid."""
    row, col = np.meshgrid(np.arange(rows - 1), np.arange(cols - (not wrap)), indexing="ij")
    a, b = row * cols + col, row * cols + (col + 1) % cols
    quads = np.stack([a, b, b + cols, a, b + cols, a + cols], -1)
    return quads.reshape(-1, 3)


def curtain(mesh: HeadMesh, person: Person, points: np.ndarray, thick: float) -> tuple[Any, ...]:
    """Hair hanging behind and beside the head, as the fields of a Piece."""
    rows, cols = 22, 56
    first = 90.0 if person.tucked else 56.0
    side = np.linspace(first, 180, cols // 2)
    angle = np.radians(np.concatenate([side, 360 - side[::-1]]))[None]
    scalp = points[mesh.crown]
    middle, half = (scalp.max(0) + scalp.min(0)) / 2, (scalp.max(0) - scalp.min(0)) / 2
    end = 0.655 - 0.03 * person.hair_length
    if person.hair_style == "long":
        end = 0.60 - 0.13 * person.hair_length
    start = 0.80
    height = np.linspace(start, end, rows)[:, None]
    down = (start - height) / (start - end)
    body = (0.008 + 0.012 * person.hair_volume) * np.sin(0.5 * np.pi * np.minimum(down * 2.2, 1))
    flare = thick * np.minimum(down * 4, 1) + body
    flare = flare + 0.005 * np.exp(-(((height - 0.715) / 0.035) ** 2))  # clears the ears
    wave = 0.006 * person.hair_curl * np.sin(height * 160 + angle * 3) + 0.003 * np.sin(angle * 14)
    narrow = 1 - 0.10 * np.clip((0.70 - height) / 0.1, 0, 1) ** 2
    x = (half[0] * narrow + flare + wave) * np.sin(angle)
    y = -(half[1] * narrow + flare + wave) * np.cos(angle)
    forward = np.clip((0.61 - height) * 0.6, 0, 0.08) * np.clip((100 - np.degrees(
        np.minimum(angle, 2 * np.pi - angle))) / 20, 0, 1)  # fmt: skip
    y = y - (0.0 if person.tucked else 1.0) * forward
    low, high = mesh.rest[mesh.crown, 2].min(), mesh.rest[mesh.crown, 2].max()
    tall = middle[2] + (height - (low + high) / 2) * half[2] * 2 / (high - low)
    made = np.stack([x + middle[0], y + middle[1], np.broadcast_to(tall, x.shape)], -1)
    rest = np.stack([x, y + AXIS_Y, np.broadcast_to(np.minimum(height, 0.795), x.shape)], -1)
    tip = (1 - down) * 0.08 - 0.004 + 0 * angle
    front = np.degrees(np.minimum(angle, 2 * np.pi - angle)) - first
    edge = np.minimum(tip, front * 0.0012 + 0.002 - 0.02 * np.clip((height - 0.775) / 0.02, 0, 1))
    follow = np.clip(1 - 0.45 * np.clip((0.68 - height) / 0.15, 0, 1) + 0 * angle, 0, 1)
    shade = 0.95 - 0.5 * np.clip((0.66 - height) / 0.15, 0, 1) + 0 * angle
    flat = (made.reshape(-1, 3), _grid(rows, cols), HAIR, follow.ravel(), rest.reshape(-1, 3))
    return (*flat, edge.ravel(), shade.ravel())


def bun(mesh: HeadMesh, person: Person, points: np.ndarray) -> tuple[Any, ...]:
    """A ball of hair on the upper back of the head."""
    rows, cols = 14, 24
    scalp = points[mesh.crown]
    height = 0.005 + 0.05 * person.hair_length
    center = np.array([0, scalp[:, 1].max() - 0.035, scalp[:, 2].max() - 0.045 + height])
    tilt = np.linspace(0.01, np.pi - 0.01, rows)[:, None]
    turn = np.linspace(0, 2 * np.pi, cols, endpoint=False)[None]
    radius = 0.030 + 0.014 * person.hair_volume + 0.0015 * np.sin(turn * 5 + tilt * 4)
    ball = np.stack(
        [np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt) + 0 * turn], -1
    )
    made = (center + ball * radius[..., None]).reshape(-1, 3)
    rest = np.array([0, AXIS_Y, 0.76]) + ball.reshape(-1, 3) * 0.035
    one = np.ones(len(made))
    return made, _grid(rows, cols, wrap=True), HAIR, one, rest, one, one * 0.9


def _tube(path: np.ndarray, radius: float, closed: bool, flat: float = 1.0) -> tuple[Any, Any]:
    """A tube of six sides along a polyline."""
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    side = np.cross(ahead, [0.0, 1.0, 0.02])
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    other = np.cross(side, ahead)
    turn = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    ring = np.cos(turn)[None, :, None] * side[:, None] * flat
    ring = ring + np.sin(turn)[None, :, None] * other[:, None]
    made = (path[:, None] + radius * ring).reshape(-1, 3)
    faces = _grid(len(path), 6, wrap=True)
    if closed:
        last = np.arange(6)
        near, far = (len(path) - 1) * 6 + last, last
        turned = (last + 1) % 6
        more = np.stack([near, (len(path) - 1) * 6 + turned, turned, near, turned, far], -1)
        faces = np.concatenate([faces, more.reshape(-1, 3)])
    return made, faces


def spectacles(mesh: HeadMesh, person: Person, plain: np.ndarray) -> tuple[Any, ...]:
    """Two rims, a bridge and temples around the neutral eyes."""
    eyes = [plain[group].mean(0) for group in mesh.eyes]
    front = min(plain[mesh.brows, 1].min(), eyes[0][1] - 0.024) - 0.004
    radius = 0.0011 if person.glasses == "thin" else 0.0021
    gap = (eyes[1][0] - eyes[0][0]) / 2
    power = 1.0 - 0.55 * person.lens_shape
    wide, tall = min(0.026, gap * 0.78), 0.017 + 0.006 * (1 - person.lens_shape)
    turn = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    shapes = []
    for sign, eye in zip((-1, 1), eyes, strict=True):
        x = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** power * wide
        z = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** power * tall
        y = front + 0.25 * np.maximum(sign * (x + eye[0]) - gap, 0)
        rim = np.stack([eye[0] + x, y, eye[2] - 0.003 + z], 1)
        shapes.append(_tube(rim, radius, True))
        outer = eye[0] + sign * wide
        ear = plain[mesh.ears[0 if sign < 0 else 1]]
        hook = np.array([ear[:, 0].mean() - sign * 0.002, ear[:, 1].mean(), eye[2] + 0.012])
        bend = front + 0.25 * np.maximum(sign * outer - gap, 0)
        corner = np.array([outer + sign * 0.004, bend + 0.004, eye[2] + 0.008])
        temple = np.stack([corner * (1 - t) + hook * t for t in np.linspace(0, 1, 8)])
        shapes.append(_tube(temple, radius, False))
    inner = np.linspace(eyes[0][0] + wide, eyes[1][0] - wide, 7)
    arch = 0.004 * np.cos(np.linspace(-1.5, 1.5, 7)) + (eyes[0][2] + eyes[1][2]) / 2 + 0.002
    shapes.append(_tube(np.stack([inner, np.full(7, front - 0.001), arch], 1), radius, False))
    starts = np.cumsum([0] + [len(made) for made, _ in shapes[:-1]])
    points = np.concatenate([made for made, _ in shapes])
    faces = np.concatenate([tri + start for (_, tri), start in zip(shapes, starts, strict=True)])
    one = np.ones(len(points))
    return points, faces, FRAME, one, points, one, one
