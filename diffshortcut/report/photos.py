"""How far photos were moved from their originals, in 8-bit levels, and what that means."""

from collections.abc import Iterator, Mapping
from math import log10
from pathlib import Path
from typing import Any

from PIL import ImageChops
from rich.console import Console
from rich.table import Table
from rich.text import Text

from diffshortcut.errors import UserError
from diffshortcut.pictures.decode import rgb, treatment

WHITE = 255
HEADER = ("photo", "size", "largest change", "mean change", "PSNR", "note")


def measure(original: Path, made: Path) -> dict[str, Any]:
    """Size, largest and mean change over all sub-pixels, PSNR in dB (None of equal pictures).

    Both files are decoded anew. UserError if their sizes differ.
    """
    before, after = rgb(original), rgb(made)
    if before.size != after.size:
        raise UserError(f"{made}: {after.size} pixels, but {original.name} has {before.size}")
    counts = ImageChops.difference(before, after).histogram()  # 256 per channel
    changes = [(index % (WHITE + 1), count) for index, count in enumerate(counts) if count]
    total = sum(counts)
    error = sum(change**2 * count for change, count in changes) / total
    return {
        "width": after.width,
        "height": after.height,
        "max": max(change for change, _ in changes),
        "mean": sum(change * count for change, count in changes) / total,
        "psnr": None if error == 0 else -10 * log10(error / WHITE**2),
        "note": ", ".join(treatment(original)),
    }


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print a line per photo, then what there is to know about all."""
    title = f"{report['made']} by {report['by']}, changes in 8-bit levels"
    table = Table(title=Text(title), title_justify="left")
    for number, name in enumerate(HEADER):
        table.add_column(name, justify="right" if 0 < number < len(HEADER) - 1 else "left")
    for photo in report["photos"]:
        table.add_row(*_cells(photo))
    console.print(table)
    for remark in remarks(report):
        console.print(remark, markup=False, highlight=False)


def remarks(report: Mapping[str, Any]) -> Iterator[str]:
    """What holds for all photos, what is suspicious, and what was not done."""
    if (radius := report["radius"]) is not None:
        largest = max(photo["max"] for photo in report["photos"])
        yield f"bound: {largest} of at most {radius:g} levels, measured on the written files"
    oblong = any(photo["width"] != photo["height"] for photo in report["photos"])
    if oblong and report["radius"] is not None:
        yield "models see the center square of a photo: what lies outside of it is not changed"
    for person, flags in report["flags"].items():
        for flag, detail in flags.items():
            yield f"flag {flag} ({person}): {detail}; see docs/flags.md"
    for line in report["not_done"]:
        yield f"not done: {line}"


def _cells(photo: Mapping[str, Any]) -> list[Text]:
    psnr = "equal" if photo["psnr"] is None else f"{photo['psnr']:.1f} dB"
    size = f"{photo['width']} x {photo['height']}"
    words = [photo["file"], size, str(photo["max"]), f"{photo['mean']:.2f}", psnr]
    return [Text(word) for word in (*words, photo["note"])]
