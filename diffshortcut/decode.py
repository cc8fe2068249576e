"""Decoding of picture files, one way for pixels and views. No torch."""

from pathlib import Path

from PIL import Image, ImageOps

from diffshortcut.errors import UserError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


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


def tile(path: Path, side: int) -> Image.Image:
    """The center square of a picture, resized to side x side pixels, in 8-bit RGB."""
    picture = upright(path)
    if picture.mode == "I":
        picture = picture.point(lambda level: level / 257 + 0.5).convert("L")
    whole = min(picture.size)
    left, top = ((length - whole) // 2 for length in picture.size)
    square = picture.convert("RGB").crop((left, top, left + whole, top + whole))
    return square.resize((side, side), Image.Resampling.BICUBIC)


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return image.convert("I")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
