"""Where a photo of a person is cut: a square around the face."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.models.faces import FaceDetector, largest


@dataclass(frozen=True, kw_only=True)
class FaceSquare:
    """`side` times as long as the longer side of the largest face's box, and inside the photo."""

    detector: FaceDetector
    side: float

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"side must be at least 1, not {self.side}")

    def find(self, photo: Tensor) -> tuple[int, int, int] | None:
        """Top, left and side in pixels, in a photo (3, h, w) in [0, 1]; None without a face."""
        face = largest(self.detector.detect(photo[None])[0])
        if face is None:
            return None
        (left, top, right, bottom), (height, width) = face.box.tolist(), photo.shape[-2:]
        side = min(round(self.side * max(right - left, bottom - top)), height, width)
        if side < 1:
            return None
        return _start(top, bottom, side, height), _start(left, right, side, width), side


def _start(low: float, high: float, side: int, length: int) -> int:
    """Where a stretch of `side` around [low, high] begins, moved so that it ends in the photo."""
    return min(max(round((low + high - side) / 2), 0), length - side)
