"""What networks trained on real faces say of the shipped portraits: `make mini-audit`.

Needs the extra [audit]: dlib's frontal face detector, and its 128-d recognizer as packaged in
`face_recognition_models`. Neither is used anywhere else in the project.
"""

import argparse
import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from diffshortcut.errors import UserError
from diffshortcut.mini.train.held_out import Gate, auc
from diffshortcut.mini.train.people import DATA
from diffshortcut.progress import track

ENLARGE = 3  # the detector knows faces from 80 pixels on; ours have about 55
Describe = Callable[[np.ndarray], np.ndarray | None]


def describer() -> Describe:
    """A function of an RGB image to its face's 128-d descriptor, or None if no face is found."""
    try:
        import dlib
    except ImportError as error:
        raise UserError("mini-audit needs dlib-bin: pip install 'diffshortcut[audit]'") from error
    found = importlib.util.find_spec("face_recognition_models")
    if found is None or found.origin is None:
        raise UserError("mini-audit needs face-recognition-models: the extra [audit]")
    models = Path(found.origin).parent / "models"
    detector = dlib.get_frontal_face_detector()
    landmarks = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    net = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def describe(image: np.ndarray) -> np.ndarray | None:
        faces = detector(image, 0)
        if not faces:
            return None
        return np.array(net.compute_face_descriptor(image, landmarks(image, faces[0])))

    return describe


def enlarged(path: Path) -> np.ndarray:
    """A photo, enlarged for the detector."""
    image = Image.open(path).convert("RGB")
    size = (image.width * ENLARGE, image.height * ENLARGE)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def audit(folder: Path, describe: Describe) -> list[Gate]:
    """Share of photos with a face, and the AUC of same person against other person."""
    paths = sorted(folder.glob("*/set_*/*.png"))
    known = {path: describe(enlarged(path)) for path in track(paths, "audit", total=len(paths))}
    faces = [(path.parts[-3], face) for path, face in known.items() if face is not None]
    same: list[float] = []
    other: list[float] = []
    for (one, a), (two, b) in itertools.combinations(faces, 2):
        (same if one == two else other).append(-float(np.linalg.norm(a - b)))
    return [
        Gate("audit: a real detector finds the face", len(faces) / len(paths), 0.9),
        Gate("audit: AUC of a real recognizer", auc(np.array(same), np.array(other)), 0.9),
    ]


def main() -> None:
    """Audit the shipped people or those of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=DATA)
    arguments = parser.parse_args()
    try:
        for gate in audit(arguments.folder, describer()):
            print(gate)
    except UserError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
