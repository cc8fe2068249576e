"""The gallery: a row per arm, in columns original, protected, purified and generated."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from diffshortcut.pictures.decode import tile

COLUMNS = ("original", "protected", "purified", "generated")
Pictures = Mapping[str, Mapping[str, Sequence[Path]]]  # arm -> column -> files

TILE = 128
EACH = 3  # images of a column
GAP, GROUP = 4, 14  # between tiles, between columns
LABEL, HEADER = 190, 34
PAPER, INK, EMPTY = "white", "black", "#dddddd"


def stages_by_column(cell: Iterable[str]) -> dict[str, str]:
    """Which of a cell's stages, by name, made the images of a column; of links it is the last."""
    names = list(cell)
    links = [name for name in names if name.startswith("purify.")]
    found = {
        "protected": "protect",
        "purified": links[-1] if links else "",
        "generated": "generate",
    }
    return {column: name for column, name in found.items() if name in names}


def draw(pictures: Pictures, shown: Sequence[str] = COLUMNS) -> Image.Image:
    """The gallery as an image, or some columns of it; a column without pictures is grey.

    A picture is shown as the stages see it. UserError naming a file that cannot be decoded.
    """
    size = (_left(len(shown)), HEADER + len(pictures) * (TILE + GAP) + GAP)
    sheet = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for number, column in enumerate(shown):
        pen.text((_left(number), 8), column, fill=INK, font=font)
    for line, (arm, columns) in enumerate(pictures.items()):
        top = HEADER + line * (TILE + GAP)
        pen.multiline_text((8, top + 8), _wrap(arm, font), fill=INK, font=font)
        for number, column in enumerate(shown):
            _strip(sheet, (_left(number), top), columns.get(column, ()))
    return sheet


def _left(column: int) -> int:
    return LABEL + column * (EACH * (TILE + GAP) + GROUP)


def _strip(sheet: Image.Image, corner: tuple[int, int], files: Sequence[Path]) -> None:
    left, top = corner
    for number in range(EACH):
        place = (left + number * (TILE + GAP), top)
        if number < len(files):
            sheet.paste(tile(files[number], TILE), place)
        elif number == 0:
            sheet.paste(EMPTY, (*place, place[0] + TILE, place[1] + TILE))


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Break a long arm name after +, _, = or a space so that it fits the label column."""
    lines = [""]
    for letter in text:
        lines[-1] += letter
        if letter in "+_ =,":
            lines.append("")
    return _join(lines, font)


def _join(parts: Sequence[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    lines = [""]
    for part in parts:
        if lines[-1] and font.getlength(lines[-1] + part) > LABEL - 16:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
