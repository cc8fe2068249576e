"""Folders with everything that a reader of pictures has to fear: a line each, no crash, no hang."""

import logging
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from diffshortcut.data import folder, people
from diffshortcut.data.people import images


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(path: Path, side: int, *others: bytes) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *others]
    pixels = zlib.compress(bytes(side * 3 + 1) * min(side, 64))
    path.write_bytes(b"".join([*parts, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]))


def huge(path: Path) -> None:
    png(path, 30_000)


def text_bomb(path: Path) -> None:
    png(path, 8, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000))))


def truncated(path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:400])


def broken_exif(path: Path) -> None:
    """The orientation stands at an offset far behind the end."""
    entry = struct.pack("<HHII", 0x0112, 3, 0xFFFFFFFF, 0x7FFFFFFF)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + b"\0\0\0\0"
    Image.new("RGB", (8, 8)).save(path, "JPEG", exif=b"Exif\0\0" + tiff)


LEFT_OUT: dict[str, tuple[Callable[[Path], object], str]] = {
    "huge.png": (huge, "exceeds limit of"),
    "text.png": (text_bomb, "too large"),
    "truncated.png": (truncated, "truncated"),
    "line.png": (
        lambda path: Image.new("RGB", (300, 1)).save(path),
        "it is 300 x 1 pixels, 8 a side are the least",
    ),
    "empty.jpg": (lambda path: path.write_bytes(b""), "it is empty"),
    "noise.jpg": (lambda path: path.write_bytes(b"\xff\xd8\xff" + bytes(500)), "cannot"),
    "folder.png": (Path.mkdir, "it is a folder"),
    "loop.png": (lambda path: path.symlink_to(path.name), "it is a link to nothing"),
    "gone.png": (lambda path: path.symlink_to("nothing.png"), "it is a link to nothing"),
    "pipe.png": (os.mkfifo, "it is no regular file"),
    "zero.png": (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
    "two\nlines.png": (lambda path: png(path, 8), "rename it, its name is no plain text"),
    os.fsdecode(b"latin\xe9.png"): (lambda path: png(path, 8), "rename it"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_it_is_left_out_with_one_line(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, reason = LEFT_OUT[name]
    make(tmp_path / name)
    png(tmp_path / "00.png", 8)
    before = sorted(os.listdir(tmp_path))
    with caplog.at_level(logging.INFO):
        found = images(tmp_path)
    assert [path.name for path in found] == ["00.png"]
    [line] = caplog.messages
    assert reason in line.partition(" is left out: ")[2]
    assert line.isprintable() and people.shown(name) in line
    line.encode()  # a terminal can show it
    assert sorted(os.listdir(tmp_path)) == before


def save(mode: str, **options: object) -> Callable[[Path], object]:
    return lambda path: Image.new(mode, (16, 8)).save(path, **options)


USED: dict[str, Callable[[Path], object]] = {
    "cmyk.jpg": save("CMYK"),
    "palette.png": save("P"),
    "float.tif": save("F"),
    "lab.tif": save("LAB"),
    "bits.png": save("1"),
    "sixteen.png": save("I;16"),
    "ünïcödé 写真 😀.png": save("RGB"),
    "broken.jpg": broken_exif,
    "linked.png": lambda path: (png(path.with_name(".kept"), 8), path.symlink_to(".kept")),
}


@pytest.mark.filterwarnings("ignore:Tag data larger")
@pytest.mark.parametrize("name", USED)
def test_it_is_used_and_can_be_decoded(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    from diffshortcut.pictures.decode import rgb

    USED[name](tmp_path / name)
    [found] = images(tmp_path)
    assert rgb(found).mode == "RGB" and caplog.messages == []


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_of_a_series_the_first_is_used_and_told(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = (Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue"))
    first.save(tmp_path / f"moving{suffix}", save_all=True, append_images=others)
    [found] = images(tmp_path)
    assert caplog.messages == [f"{found}: the first of its 3 pictures is used"]


def test_a_tiff_whose_pages_go_round_ends(tmp_path: Path) -> None:
    path = tmp_path / "round.tif"
    Image.new("L", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<I", content, start + 2 + 12 * entries, start)  # the next page is itself
    path.write_bytes(content)
    assert images(tmp_path) == (path,)


def test_folders_that_lead_back_or_have_no_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("ann", "two\nlines"):
        (tmp_path / name).mkdir()
        for index in range(2):
            png(tmp_path / name / f"{index}.png", 8)
    (tmp_path / "ann" / "back").symlink_to(tmp_path)
    (tmp_path / "here").symlink_to(".")
    (tmp_path / "round").symlink_to("round")
    [ann] = folder.people(root=str(tmp_path), people=None)
    assert ann.name == "ann" and len(ann.set_B) == len(ann.set_C) == 1
    said = "\n".join(caplog.messages)
    assert "here is left out: it leads back" in said
    assert r"two\nlines is left out: rename it" in said
    caplog.clear()
    assert folder.people(root=str(tmp_path / "ann"), people=None) == [ann]
    assert "back is left out: it leads back" in caplog.text
