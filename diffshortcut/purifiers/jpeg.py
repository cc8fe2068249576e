"""JPEG compression ("JPEG" of Table 1)."""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image
from torch import Tensor

from diffshortcut.purifiers import pillow
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class Jpeg:
    """Encode and decode with libjpeg at `quality` (1 ... 95), chroma at half resolution (4:2:0)."""

    quality: int

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 95:
            raise ValueError(f"quality must be between 1 and 95, not {self.quality}")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1] as the compressed files decode."""
        return pillow.each(images, self._compressed)

    def _compressed(self, picture: Image.Image) -> Image.Image:
        file = BytesIO()
        picture.save(file, format="JPEG", quality=self.quality, subsampling="4:2:0")
        return Image.open(file)
