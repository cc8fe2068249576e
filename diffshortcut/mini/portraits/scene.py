"""Geometry of one photograph: the person's mesh, hair, beard, clothes and glasses, posed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from diffshortcut.mini.portraits import fields
from diffshortcut.mini.portraits.accessories import bun, curtain, spectacles
from diffshortcut.mini.portraits.mesh import HeadMesh
from diffshortcut.mini.portraits.person import Person
from diffshortcut.mini.portraits.raster import (
    AO,
    BEARD,
    CLOTH,
    COLUMNS,
    EDGE,
    HAIR,
    INSIDE,
    LIPS,
    NORMAL,
    REST,
    vertex_normals,
)  # fmt: skip
from diffshortcut.mini.portraits.view import View

# Slow ripples (radians per metre) that keep the hair from looking like a helmet.
_WAVES = np.array([[140.0, 60.0, 90.0], [-50.0, 130.0, 110.0]])


@dataclass
class Piece:
    """Vertices of one part, with how far they follow the head, and their shading attributes."""

    points: np.ndarray
    faces: np.ndarray
    part: int | np.ndarray
    follow: np.ndarray
    rest: np.ndarray
    edge: np.ndarray
    ao: np.ndarray


@dataclass
class Scene:
    """World-space triangles ready for the rasterizer."""

    points: np.ndarray
    faces: np.ndarray
    parts: np.ndarray
    attrs: np.ndarray


@lru_cache(maxsize=256)
def neutral(mesh: HeadMesh, person: Person) -> np.ndarray:
    """The person's vertices without expression."""
    local = person.local(mesh.local_labels)
    return mesh.shape(np.array(person.phenotype, np.float32), local)


def _shell(
    mesh: HeadMesh, group: str, points: np.ndarray, normals: np.ndarray, thick: np.ndarray,
    edge: np.ndarray, part: int,
) -> Piece:  # fmt: skip
    """A copy of a body region pushed out along its normals."""
    verts, faces = mesh.regions[group]
    moved = points[verts] + normals[verts] * thick[verts, None]
    return Piece(
        moved, faces, part, mesh.follow[verts], mesh.rest[verts], edge[verts], mesh.ao[verts]
    )


def _ramp(field: np.ndarray, width: float) -> np.ndarray:
    share = np.clip(field / width, 0, 1)
    return share * share * (3 - 2 * share)


def hair_pieces(
    mesh: HeadMesh, person: Person, points: np.ndarray, normals: np.ndarray
) -> list[Piece]:
    """Scalp shell of the person's style plus curtain or bun."""
    style = person.hair_style
    if style == "bald":
        return []
    field = fields.hairline(mesh.rest, person.hairline, person.bangs, style == "balding")
    field = np.where(mesh.masks[2] > 0.25, -0.02, field)
    base = {"short": 0.008, "balding": 0.004, "bun": 0.006, "afro": 0.032}.get(style, 0.011)
    extra = {"afro": 0.03, "short": 0.016, "balding": 0.004, "bun": 0.004}.get(style, 0.008)
    side = {"short": 0.22, "balding": 0.8, "afro": 0.8}.get(style, 0.5)
    top = side + (1 - side) * _ramp(mesh.rest[:, 2] - 0.735, 0.075)
    thick = (base + extra * person.hair_volume) * top * (0.12 + 0.88 * _ramp(field, 0.035))
    thick = thick * (1 + 0.25 * np.sin(mesh.rest @ _WAVES[0]) * np.sin(mesh.rest @ _WAVES[1]))
    pieces = [_shell(mesh, "scalp", points, normals, thick, field, HAIR)]
    # A sparser outer layer breaks up the outline.
    loose, sparse = thick * 1.10 + 0.0012 * _ramp(field, 0.02), np.minimum(field, 0.0) - 0.0005
    pieces.append(_shell(mesh, "scalp", points, normals, loose, sparse, HAIR))
    if style in ("long", "bob"):
        pieces.append(Piece(*curtain(mesh, person, points, base + extra * person.hair_volume)))
    if style == "bun":
        pieces.append(Piece(*bun(mesh, person, points)))
    return pieces


def _attributes(mesh: HeadMesh, pieces: list[Piece], beard: np.ndarray) -> np.ndarray:
    """Shading attributes of all pieces, the body first."""
    count = sum(len(piece.points) for piece in pieces)
    attrs = np.zeros((count, COLUMNS), np.float32)
    attrs[:, REST : REST + 3] = np.concatenate([piece.rest for piece in pieces])
    attrs[:, AO] = np.concatenate([piece.ao for piece in pieces])
    attrs[:, EDGE] = np.concatenate([piece.edge for piece in pieces])
    body = len(mesh.rest)
    attrs[:body, LIPS], attrs[:body, INSIDE] = mesh.masks[0], mesh.masks[1]
    attrs[:body, EDGE] = beard
    return attrs


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    y, p, r = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), 0, np.sin(r)], [0, 1, 0], [-np.sin(r), 0, np.cos(r)]])
    return turn @ tilt @ nod


def _pose(points: np.ndarray, follow: np.ndarray, pivot: np.ndarray, view: View) -> np.ndarray:
    """Turn the body by a third of the yaw and bend the neck for the rest."""
    body = _rotation(view.yaw * 0.35, 0, 0)
    bent = points - pivot
    moved = bent.copy()
    for level in (0.25, 0.5, 0.75, 1.0):  # piecewise linear along the neck keeps its volume
        share = np.clip((follow - level + 0.25) * 4, 0, 1)[:, None]
        turned = bent @ _rotation(view.yaw * 0.65 * level, view.pitch * level, view.roll * level).T
        moved = moved * (1 - share) + turned * share
    return moved @ body.T + pivot


def build(mesh: HeadMesh, person: Person, view: View) -> Scene:
    """All triangles of a person in a view, in world coordinates."""
    plain = neutral(mesh, person)
    points = plain + mesh.express(dict(view.actions))
    normals = np.zeros_like(points)
    vertex_normals(points, mesh.skin, normals)
    kind = person.beard if person.beard in ("moustache", "goatee") else "full"
    beard = fields.beard(mesh.rest, mesh.masks, kind)
    pieces = [Piece(points, mesh.faces, mesh.parts, mesh.follow, mesh.rest, beard, mesh.ao)]
    pieces += hair_pieces(mesh, person, points, normals)
    if person.beard in ("full", "goatee", "moustache"):
        thick = 0.0005 + 0.006 * _ramp(beard, 0.02)
        pieces.append(_shell(mesh, "chin", points, normals, thick, beard, BEARD))
    collar = fields.neckline(mesh.rest, view.clothes)
    thick = np.full(len(points), 0.010 if view.clothes in ("suit", "sweater") else 0.007)
    pieces.append(_shell(mesh, "torso", points, normals, thick, collar, CLOTH))
    if person.glasses != "none":
        pieces.append(Piece(*spectacles(mesh, person, plain)))
    return _merge(mesh, pieces, beard, view, plain)


def _merge(
    mesh: HeadMesh, pieces: list[Piece], beard: np.ndarray, view: View, plain: np.ndarray
) -> Scene:
    """Concatenate, pose and compute normals."""
    starts = np.cumsum([0] + [len(piece.points) for piece in pieces[:-1]])
    faces = np.concatenate(
        [piece.faces + start for piece, start in zip(pieces, starts, strict=True)]
    )
    parts = [np.broadcast_to(piece.part, len(piece.faces)) for piece in pieces]
    points = np.concatenate([piece.points for piece in pieces]).astype(np.float32)
    follow = np.concatenate([piece.follow for piece in pieces])
    pivot = np.array([0, plain[mesh.neck, 1].mean(), plain[mesh.neck, 2].mean()], np.float32)
    points = _pose(points, follow.astype(np.float32), pivot, view).astype(np.float32)
    attrs = _attributes(mesh, pieces, beard)
    normals = np.zeros_like(points)
    faces = faces.astype(np.int32)
    vertex_normals(points, faces, normals)
    attrs[:, NORMAL : NORMAL + 3] = normals
    return Scene(points, faces, np.concatenate(parts).astype(np.int32), attrs)
