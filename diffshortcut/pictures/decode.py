"""Decoding of picture files, one way for pixels and views. No torch."""

import struct
from pathlib import Path

from PIL import Image, ImageOps

from diffshortcut.errors import UserError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
ORIENTATION = 0x0112  # the EXIF tag
UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError),
    *(struct.error, TypeError, AttributeError),  # of broken EXIF, which Pillow writes again
)


def upright(path: Path) -> Image.Image:
    """The picture of a file in mode RGB, or I with levels to 65535 if it is 16-bit grey.

    EXIF rotation is applied, transparency is laid on white. UserError naming the file if it cannot
    be decoded.
    """
    try:
        with Image.open(path) as file:
            return _plain(ImageOps.exif_transpose(file))
    except UNREADABLE as error:
        raise UserError(f"{path}: not a readable image ({error})") from error


def rgb(path: Path) -> Image.Image:
    """The picture of a file in 8-bit RGB."""
    picture = upright(path)
    if picture.mode == "I":
        picture = picture.point(lambda level: level / 257 + 0.5).convert("L")
    return picture.convert("RGB")


def tile(path: Path, side: int) -> Image.Image:
    """The center square of a picture, resized to side x side pixels, in 8-bit RGB."""
    picture = rgb(path)
    whole = min(picture.size)
    left, top = ((length - whole) // 2 for length in picture.size)
    square = picture.crop((left, top, left + whole, top + whole))
    return square.resize((side, side), Image.Resampling.BICUBIC)


def treatment(path: Path) -> list[str]:
    """What decoding does to a picture besides reading it, in words."""
    with Image.open(path) as file:
        said = {
            "turned upright": file.getexif().get(ORIENTATION, 1) != 1,
            "transparency laid on white": _is_transparent(file),
            "16-bit, now 8-bit": file.mode.startswith("I"),
            "grey, now in color": file.mode in ("1", "L", "LA") or file.mode.startswith("I"),
        }
    return [words for words, true in said.items() if true]


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return image.convert("I")
    if _is_transparent(image):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
