"""Face detection, alignment and recognition, by the file formats of InsightFace's models."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from diffshortcut import weights as references
from diffshortcut.models.geometry import align
from diffshortcut.models.nets import RecognizerBNet, decode, load_net
from diffshortcut.models.remembered import remembered
from diffshortcut.pictures import images as pictures

SCORE = 0.5  # SCRFD's thresholds
OVERLAP = 0.4


@dataclass(frozen=True)
class Face:
    """One detected face: box (4,) x0 y0 x1 y1 and points (5, 2) in pixels, score in [0, 1]."""

    box: Tensor
    score: float
    points: Tensor

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return float((self.box[2:] - self.box[:2]).clamp(min=0).prod())


class FaceDetector(Protocol):
    """What finds faces, in either zoo."""

    def detect(self, images: Tensor) -> list[list[Face]]:
        """Faces of each image of (n, 3, h, w) in [0, 1], the most certain first."""


def largest(faces: list[Face]) -> Face | None:
    """The face with the largest box, None of none."""
    return max(faces, key=lambda face: face.area, default=None)


class OnnxNet:
    """An ONNX file run by onnxruntime on the CPU: (n, ...) tensor to its outputs, whatever n."""

    def __init__(self, *, path: Path) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at import: it writes to ~/.cache
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        self._input = self._session.get_inputs()[0]

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """All outputs, their batches joined along the first axis."""
        fixed = self._input.shape[0]
        parts = x.split(fixed if isinstance(fixed, int) else 64)
        found = [self._session.run(None, {self._input.name: part.cpu().numpy()}) for part in parts]
        return tuple(
            torch.cat([torch.from_numpy(array) for array in outputs])
            for outputs in zip(*found, strict=True)
        )


class Detector:
    """Faces by a net with SCRFD's nine outputs (see `nets.DetectorNet`)."""

    def __init__(self, *, net: Any, size: int) -> None:
        self.net = net
        self.size = size

    @torch.no_grad()
    def detect(self, images: Tensor) -> list[list[Face]]:
        """Faces of each image of (n, 3, h, w) in [0, 1], the most certain first."""
        scale = self.size / max(images.shape[-2:])
        outputs = self.net((self._fit(images.cpu().float(), scale) * 255 - 127.5) / 128)
        scores, boxes, points = decode(outputs, self.size)
        return [
            _suppress(s, b / scale, p / scale)
            for s, b, p in zip(scores, boxes, points, strict=True)
        ]

    def _fit(self, images: Tensor, scale: float) -> Tensor:
        """Longer side to `size`, black below or to the right, as InsightFace feeds its nets."""
        height, width = (max(1, round(side * scale)) for side in images.shape[-2:])
        fitted = pictures.resize(images, (height, width), mode="bilinear")
        return functional.pad(fitted, (0, self.size - width, 0, self.size - height))


def _suppress(scores: Tensor, boxes: Tensor, points: Tensor) -> list[Face]:
    """Greedy non-maximum suppression of one image's candidates."""
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] >= SCORE]
    kept: list[int] = []
    for index in order.tolist():
        if not kept or _overlap(boxes[index], boxes[kept]).max() <= OVERLAP:
            kept.append(index)
    return [Face(box=boxes[i], score=float(scores[i]), points=points[i]) for i in kept]


def _overlap(box: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of a box (4,) with others (n, 4)."""
    low = torch.maximum(box[:2], others[:, :2])
    high = torch.minimum(box[2:], others[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area, areas = (box[2:] - box[:2]).prod(), (others[:, 2:] - others[:, :2]).prod(-1)
    return shared / (area + areas - shared).clamp(min=1e-9)


class Recognizer:
    """Identity embeddings of aligned faces, size x size."""

    def __init__(self, *, net: Any, size: int) -> None:
        self.net = net
        self.size = size

    @torch.no_grad()
    def embed(self, aligned: Tensor) -> Tensor:
        """(n, 3, size, size) in [0, 1] to (n, d), L2-normalized."""
        outputs = self.net(aligned.to(torch.get_default_device(), torch.float32) * 2 - 1)
        features = outputs[0] if isinstance(outputs, tuple) else outputs
        return functional.normalize(features, dim=-1).cpu()


def aligned_faces(images: Tensor, faces: list[Face | None], size: int) -> Tensor:
    """The aligned crops (k, 3, size, size) of those images (n, 3, h, w) whose face is not None."""
    crops = [
        align(image, face.points, size)
        for image, face in zip(images, faces, strict=True)
        if face is not None
    ]
    return torch.stack(crops) if crops else images.new_zeros(0, 3, size, size)


def load_detector(*, weights: str, size: int) -> Detector:
    """A detector of a folder's model.onnx (or an ONNX file); images are fitted into size x size."""
    return Detector(net=_onnx(references.locate(weights), torch.get_default_device()), size=size)


def load_recognizer_a(*, weights: str) -> Recognizer:
    """Recognizer A: ArcFace's convention, 112 x 112 RGB to 512-d (IMS's first part, weight 0.7)."""
    return Recognizer(net=_onnx(references.locate(weights), torch.get_default_device()), size=112)


def load_recognizer_b(*, weights: str) -> Recognizer:
    """Recognizer B: the VGG-like net (IMS's second part, weight 0.3)."""
    net = load_net(RecognizerBNet, references.locate(weights))
    return Recognizer(net=net, size=RecognizerBNet.size)


@remembered
def _onnx(path: Path, _: torch.device) -> OnnxNet:
    return OnnxNet(path=path / "model.onnx" if path.is_dir() else path)
