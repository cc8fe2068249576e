"""Signed fields over template positions (metres): hairline, beard region, necklines.

Positive inside. ``around`` is the angle from the nose about a vertical axis through the head.
"""

from __future__ import annotations

import numpy as np

AXIS_Y = -0.055
HAIRLINE = (
    (0, 30, 48, 60, 70, 78, 86, 95, 105, 115, 130, 180),
    (0.806, 0.804, 0.793, 0.778, 0.757, 0.736, 0.729, 0.746, 0.732, 0.702, 0.675, 0.658),
)
BEARD_TOP = ((0, 15, 24, 45, 65, 78, 90), (0.686, 0.684, 0.674, 0.673, 0.684, 0.705, 0.72))


def around(rest: np.ndarray) -> np.ndarray:
    """Degrees from the front (0) to the back (180), the same on both sides."""
    return np.degrees(np.arctan2(np.abs(rest[:, 0]), -(rest[:, 1] - AXIS_Y)))


def hairline(rest: np.ndarray, raised: float, bangs: bool, balding: bool) -> np.ndarray:
    """Height above the hairline; ``raised`` moves its front up (metres)."""
    angle = around(rest)
    front = np.clip(1 - angle / 65, 0, 1)
    limit = np.interp(angle, *HAIRLINE) + raised * np.minimum(front * 2, 1)
    if bangs:
        limit = limit - 0.038 * np.clip((62 - angle) / 15, 0, 1)
    field = rest[:, 2] - limit
    if balding:
        crown = np.interp(angle, (0, 60, 110, 180), (0.70, 0.76, 0.80, 0.80))
        field = np.minimum(field, crown - rest[:, 2])
    return field


def beard(rest: np.ndarray, masks: np.ndarray, kind: str) -> np.ndarray:
    """Depth inside a beard region of a kind: full, goatee or moustache."""
    angle, x, z = around(rest), np.abs(rest[:, 0]), rest[:, 2]
    lips, inside, ears = masks[0], masks[1], masks[2]
    field = np.minimum(np.interp(angle, *BEARD_TOP) - z, z - 0.607 - 0.0003 * angle)
    field = np.minimum(field, (86 - angle) * 0.0012)
    field = np.minimum(field, (0.35 - lips) * 0.02)
    field = np.where((inside > 0.3) | (ears > 0.1), -0.03, field)
    if kind == "moustache":
        field = np.minimum(field, np.minimum(0.034 - x, z - 0.664 + 0.1 * x))
    elif kind == "goatee":
        field = np.minimum(field, 0.031 - x)
    return np.where(z > 0.595, field, -0.03)


def neckline(rest: np.ndarray, kind: str) -> np.ndarray:
    """Depth below the upper rim of a garment."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    field = 0.583 + 0.45 * (y + 0.01) - z + np.clip(1.6 * (x - 0.06), 0, 0.2)
    if kind == "turtleneck":
        field = field + 0.045
    elif kind == "v-neck":
        field = field - np.where(y < -0.02, np.clip(0.085 - 1.3 * x, 0, 1), 0)
    elif kind in ("suit", "sweater"):
        field = field + 0.012
    return field
