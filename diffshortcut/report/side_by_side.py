"""Photos side by side: original, protected or purified, and their difference made visible."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFont

from diffshortcut.pictures.decode import rgb

GAIN, GREY = 8, 128  # the difference is amplified around grey
COLUMNS = 3  # original, what was made of it, difference
MOST = 8  # photos that are shown

TILE = 288  # the longer side
GAP, LABEL = 6, 22
PAPER, INK = "white", "black"
FONT = 14


def draw(pairs: Sequence[tuple[Path, Path]], made: str) -> Image.Image:
    """A row per original and the photo `made` from it, under its name; at most MOST are shown."""
    rows = [(_label(*pair), _tiles(*pair)) for pair in pairs[:MOST]]
    heights = [LABEL + tiles[0].height + GAP for _, tiles in rows]
    sheet = Image.new("RGB", (_left(COLUMNS), 2 * LABEL + sum(heights)), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=FONT)
    for number, column in enumerate(("original", made, f"difference x{GAIN}")):
        pen.text((_left(number), 3), column, fill=INK, font=font)
    top = LABEL
    for (label, tiles), height in zip(rows, heights, strict=True):
        pen.text((_left(0), top + 3), _fitting(label, font), fill=INK, font=font)
        for number, tile in enumerate(tiles):
            sheet.paste(tile, (_left(number), top + LABEL))
        top += height
    said = f"{len(rows)} of {len(pairs)} photos" if len(pairs) > MOST else ""
    pen.text((_left(0), top + 3), said, fill=INK, font=font)
    return sheet


def difference(before: Image.Image, after: Image.Image) -> Image.Image:
    """GREY + GAIN (after - before), clipped to 8 bits."""
    return ImageChops.subtract(after, before, scale=1 / GAIN, offset=GREY)


def _label(original: Path, made: Path) -> str:
    return f"{made.parent.name}/{original.name}"


def _tiles(original: Path, made: Path) -> list[Image.Image]:
    before, after = rgb(original), rgb(made)
    return [_shrunk(picture) for picture in (before, after, difference(before, after))]


def _shrunk(picture: Image.Image) -> Image.Image:
    """As a tile with the picture's aspect; a small picture is enlarged."""
    scale = TILE / max(picture.size)
    width, height = (max(round(scale * length), 1) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _left(column: int) -> int:
    return GAP + column * (TILE + GAP)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, or its end if it is wider than the sheet."""
    room = _left(COLUMNS) - 2 * GAP
    while font.getlength(text) > room:
        text = f"...{text.removeprefix('...')[1:]}"
    return text
