"""A folder of photos in which everything is wrong that a phone, the web or an enemy can do."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_world import World
from PIL import Image

from diffshortcut.pictures.decode import rgb

pytestmark = pytest.mark.faults
Tried = Callable[[str], None]
PROTECT = ["stages=protect", "data=folder", "data.root=photos", "attack=random"]


def claims(side: int) -> bytes:
    """A PNG of few bytes that claims side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + _crc(kind + content)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10**6), 9)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _crc(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))


def poison(folder: Path) -> set[str]:
    """Fill a folder; the names without suffix of the photos that can be read."""
    picture = Image.effect_noise((40, 24), 60).convert("RGB")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=turned)
    frames = [picture, picture.rotate(180)]
    frames[0].save(folder / "animated.webp", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "animated.png", save_all=True, append_images=frames[1:])
    picture.convert("RGBA").save(folder / "clear.png")
    picture.convert("P").save(folder / "palette.png")
    picture.convert("L").point(lambda x: x * 257, "I").convert("I;16").save(folder / "deep.png")
    picture.save(folder / "B\u00e4r \u540d\u524d \U0001f600.png")
    picture.save(folder / "new\nline.png")
    picture.save(folder / "-rf *.png")
    (folder / "photo.png").write_bytes((folder / "turned.jpg").read_bytes())
    (folder / "linked.png").symlink_to(folder / "palette.png")
    good = {path.stem for path in folder.iterdir()}
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    (folder / "bomb.png").write_bytes(claims(30000))
    (folder / "short.png").write_bytes(claims(3000))
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    (folder / "cut.jpg").write_bytes((folder / "turned.jpg").read_bytes()[:400])
    (folder / "folder.png").mkdir()
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "phone.heic").write_bytes(b"heic")
    return good


@pytest.mark.slow
def test_what_can_be_read_is_protected_and_the_rest_is_told(
    world: World, tmp_path: Path, tried: Tried
) -> None:
    photos = world.root / "photos"
    photos.mkdir(parents=True)
    good = poison(photos) - {"new\nline"}  # left out and told
    for _ in range(len(list(photos.iterdir())) - len(good)):
        tried("poisoned photo")
    before = {path: path.read_bytes() for path in photos.iterdir() if path.is_file()}
    world.overrides = [*PROTECT, "runtime.threads=1", "runtime.store=store", "debug=tiny"]
    assert world.run() == 0, world.said
    [made] = world.root.glob("outputs/protected-*/photos")
    assert {path.stem for path in made.iterdir()} == good
    for path in made.iterdir():
        original = next(p for p in photos.iterdir() if p.stem == path.stem and p.suffix != ".heic")
        assert rgb(path).size == rgb(original).size
    report = json.loads((made.parent / "protected.json").read_text())
    assert len(report["photos"]) == len(good) and report["not_done"] == []
    assert all(photo["max"] <= 11 for photo in report["photos"])
    for name in ("dot", "bomb", "short", "empty", "text", "cut", "phone", "new\\nline"):
        assert name in world.said
    assert {path: path.read_bytes() for path in before} == before
    assert "Traceback" not in world.said


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, b"", b"no picture"], ids=["nothing", "empty", "text"])
def test_a_folder_without_a_photo_is_one_line(
    world: World, tried: Tried, content: bytes | None
) -> None:
    (world.root / "photos").mkdir(parents=True)
    if content is not None:
        (world.root / "photos" / "a.png").write_bytes(content)
    tried("folder without a photo")
    world.overrides = [*PROTECT, "runtime.store=store"]
    assert world.run() == 1
    last = world.said.splitlines()[-1]
    assert last.startswith("error: ") and "photos" in last and "Traceback" not in world.said
    assert not (world.root / "store").exists()
