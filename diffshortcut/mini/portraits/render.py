"""Render a person in a view to an image with its attributes, face box and five points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffshortcut.mini.portraits import albedo, scene, shade
from diffshortcut.mini.portraits.backdrop import backdrop
from diffshortcut.mini.portraits.mesh import HeadMesh
from diffshortcut.mini.portraits.person import Person
from diffshortcut.mini.portraits.raster import LASH, depth_map, rasterize
from diffshortcut.mini.portraits.view import CLOTH_COLORS, CLOTHES, View

FACE_HEIGHT = 0.19
SHADOW = 136


@dataclass(frozen=True)
class Shot:
    """A photograph: uint8 HWC RGB; box (x0, y0, x1, y1) and points (5, 2) in pixels.

    Points are the eye on the image's left, the right one, nose tip, left and right mouth corner.
    """

    image: np.ndarray
    attributes: dict[str, str]
    box: np.ndarray
    points: np.ndarray


def _palette(person: Person, view: View) -> np.ndarray:
    """Linear RGB rows in the order of ``albedo.P_*``."""
    cloth: tuple[float, ...] = CLOTH_COLORS[view.cloth_color]
    second = (0.85, 0.85, 0.84) if max(cloth) < 0.8 else (0.12, 0.14, 0.2)
    if view.clothes == "suit":
        cloth = tuple(0.35 * value + 0.02 for value in cloth)
        second = (0.88, 0.88, 0.87)
    beard = tuple(0.85 * value for value in person.hair)
    rows = [person.skin, person.lips, person.hair, person.brow, person.eye, person.frame, cloth,
            second, beard]  # fmt: skip
    return np.asarray(rows, np.float64) ** 2.2


def _numbers(mesh: HeadMesh, person: Person, view: View) -> np.ndarray:
    """Shader numbers in the order of ``albedo.N_*``."""
    num = np.zeros(albedo.NUMBERS)
    center = np.abs(np.concatenate([mesh.rest[group] for group in mesh.eyes]))
    ball = (center.max(0) + center.min(0)) / 2
    ball[1] *= -1
    num[albedo.N_CURL] = person.hair_curl
    num[albedo.N_BROW], num[albedo.N_ARCH] = person.brow_thickness, person.brow_arch
    num[albedo.N_FRECKLES] = person.freckles
    levels = {"none": 0.0, "stubble": 0.42, "full": 0.6, "goatee": 0.55, "moustache": 0.5}
    num[albedo.N_STUBBLE] = levels[person.beard]
    num[albedo.N_GAZE_X], num[albedo.N_GAZE_Z] = view.gaze
    num[albedo.N_CLOTH] = CLOTHES.index(view.clothes)
    num[albedo.N_EYE_X : albedo.N_EYE_Z + 1] = ball
    num[albedo.N_MOLES] = len(person.moles)
    flat = [value for mole in person.moles for value in mole]
    num[albedo.N_MOLE0 : albedo.N_MOLE0 + len(flat)] = flat
    return num


def _lights(view: View) -> np.ndarray:
    """Directions and colors of the lights, rows as in ``shade``."""
    rows = np.zeros((shade.LIGHTS, 3))
    key = np.array([view.key[0], -view.key[1], view.key[2]])
    side = -np.sign(key[0]) or 1.0
    rows[shade.KEY] = key
    rows[shade.FILL] = np.array([side * 0.8, -0.75, 0.15]) / np.linalg.norm([0.8, 0.75, 0.15])
    rows[shade.RIM] = np.array([side * 0.65, 0.7, 0.5]) / np.linalg.norm([0.65, 0.7, 0.5])
    color, warm = np.asarray(view.key_color), np.asarray(view.warm)
    rows[shade.KEY_RGB] = color * 0.95
    rows[shade.FILL_RGB] = warm * view.fill
    rows[shade.RIM_RGB] = warm * 0.25
    rows[shade.SKY] = warm * view.ambient
    rows[shade.GROUND] = color * view.ambient * 0.55
    return rows * np.r_[np.ones(3), np.full(5, view.exposure)][:, None]


def _shadow_frame(key: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Affine map (3, 4) from world to shadow pixels and height towards the light."""
    side = np.cross([0.0, 0.0, 1.0], key)
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(key, side), key])
    axes[:2] *= SHADOW / 0.5
    offset = -axes @ center + np.array([SHADOW / 2, SHADOW / 2, 0.0])
    return np.concatenate([axes, offset[:, None]], 1)


def _project(
    points: np.ndarray, camera: np.ndarray, focal: float, middle: np.ndarray
) -> np.ndarray:
    """Columns, rows and inverse depths (n, 3)."""
    inverse = 1.0 / (points[:, 1] - camera[1])
    col = middle[0] + focal * (points[:, 0] - camera[0]) * inverse
    row = middle[1] - focal * (points[:, 2] - camera[2]) * inverse
    return np.stack([col, row, inverse], 1)


def _landmarks(mesh: HeadMesh, screen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Face box and five points from projected vertices."""
    face = screen[mesh.face, :2]
    box = np.concatenate([face.min(0), face.max(0)])
    eyes = [screen[group, :2].mean(0) for group in mesh.eyes]
    rest = [screen[i, :2] for i in (mesh.nose, *mesh.corners)]
    return box, np.stack(eyes + rest)


def _finish(image: np.ndarray, view: View, factor: int) -> np.ndarray:
    """Box-downsample, tone-map and add optional grain; uint8."""
    shifts = [(i, j) for i in range(factor) for j in range(factor)]
    small = sum((image[i::factor, j::factor] for i, j in shifts), np.zeros(1)) / factor**2
    tone = small * (1 + small * 0.08) / (1 + 0.25 * small)
    out = np.clip(tone * 1.12, 0, 1) ** (1 / 2.2)
    if view.grain > 0:
        out = out + np.random.default_rng([view.seed, 5]).normal(0, view.grain, out.shape)
    return (np.clip(out, 0, 1) * 255 + 0.5).astype(np.uint8)


def attributes(person: Person, view: View) -> dict[str, str]:
    """What a caption may say."""
    turn = "left" if view.yaw < -12 else "right" if view.yaw > 12 else "camera"
    if abs(view.yaw) <= 12 and abs(view.pitch) > 8:
        turn = "down" if view.pitch > 0 else "up"
    return {
        "ancestry": person.ancestry, "gender": person.gender, "age": person.age,
        "hair_color": person.hair_color, "hair_style": person.hair_style, "beard": person.beard,
        "curly": "yes" if person.hair_curl > 0.5 else "no",
        "bangs": "yes" if person.bangs else "no",
        "eye_color": person.eye_color, "glasses": person.glasses,
        "expression": view.expression, "turn": turn, "clothes": view.clothes,
        "cloth_color": view.cloth_color, "background": view.background,
        "back_color": view.back_color,
    }  # fmt: skip


def render(
    mesh: HeadMesh, person: Person, view: View, size: int = 128, supersample: int = 2
) -> Shot:
    """Photograph ``person`` in ``view`` at ``size`` x ``size`` pixels."""
    built = scene.build(mesh, person, view)
    wide = size * supersample
    center = built.points[mesh.face].mean(0).astype(np.float64)
    camera = center - np.array([0, view.distance, 0])
    focal = view.fraction * wide * view.distance / FACE_HEIGHT
    middle = (np.array([0.5, 0.5]) + view.shift) * wide
    screen = _project(built.points.astype(np.float64), camera, focal, middle)
    depth = np.zeros((wide, wide))
    index, bary = np.full((wide, wide), -1, np.int32), np.zeros((wide, wide, 2))
    rasterize(screen, built.attrs, built.faces, built.parts, person.hair_curl, depth, index, bary)
    lights = _lights(view)
    frame = _shadow_frame(lights[shade.KEY], center)
    flat = built.points @ frame[:, :3].T + frame[:, 3]
    shadow = np.full((SHADOW, SHADOW), -1e9)
    depth_map(flat, built.faces[built.parts != LASH], shadow)
    image = backdrop(view, size).repeat(supersample, 0).repeat(supersample, 1)
    shade.shade(
        index, bary, built.points, built.attrs, built.faces, built.parts, camera, lights, frame,
        shadow, _palette(person, view), _numbers(mesh, person, view), image,
    )  # fmt: skip
    box, points = _landmarks(mesh, screen)
    return Shot(
        _finish(image, view, supersample), attributes(person, view), box / supersample,
        points / supersample,
    )  # fmt: skip
