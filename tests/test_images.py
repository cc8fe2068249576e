"""Reading and writing of images: modes, rotation, rounding, bad files."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffshortcut.errors import UserError
from diffshortcut.pictures import images

RGB = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def saved(folder: Path, image: Image.Image, name: str = "x.png", **options: object) -> Path:
    image.save(folder / name, **options)
    return folder / name


def test_eight_bit_images_come_back_exactly(tmp_path: Path) -> None:
    x = images.read(saved(tmp_path, Image.fromarray(RGB)))
    assert x.shape == (3, 5, 4) and x.dtype == torch.float32
    (path,) = images.write_folder(tmp_path / "out", x[None])
    assert path.name == "00.png" and np.array_equal(np.asarray(Image.open(path)), RGB)


def test_all_levels_survive_quantization() -> None:
    levels = torch.arange(256) / 255
    assert torch.equal(images.quantize(levels), levels)


def test_rounding_clips_and_never_wraps() -> None:
    """-0.01 gives 0 (not 254), 1.02 gives 255 (not 4)."""
    assert images.to_uint8(torch.tensor([-0.01, 1.02, 0.4999 / 255, 0.5001 / 255])).tolist() == [
        *(0, 255, 0, 1)
    ]


def test_sixteen_bit_grey(tmp_path: Path) -> None:
    array = np.array([[0, 32768], [65535, 257]], dtype=np.uint16)
    x = images.read(saved(tmp_path, Image.fromarray(array)))
    torch.testing.assert_close(x[1], torch.from_numpy(array / 65535).float())
    assert x.shape == (3, 2, 2)
    big_endian = saved(tmp_path, Image.fromarray(array.astype(">u2")), "big.tif")
    assert torch.equal(images.read(big_endian), x)


def test_grey_is_widened_and_transparency_laid_on_white(tmp_path: Path) -> None:
    grey = images.read(saved(tmp_path, Image.fromarray(RGB[..., 0]), "g.png"))
    assert torch.equal(grey[0], grey[2]) and grey.shape == (3, 5, 4)
    rgba = np.zeros((1, 2, 4), dtype=np.uint8)
    rgba[0, 1, 3] = 255
    x = images.read(saved(tmp_path, Image.fromarray(rgba), "a.png"))
    assert x[:, 0, 0].tolist() == [1, 1, 1] and x[:, 0, 1].tolist() == [0, 0, 0]


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned by 90 degrees
    path = saved(tmp_path, Image.fromarray(RGB), exif=exif)
    turned = torch.from_numpy(np.rot90(RGB, -1).copy()).permute(2, 0, 1) / 255
    torch.testing.assert_close(images.read(path), turned)


def test_size_crops_the_center_square(tmp_path: Path) -> None:
    wide = np.zeros((8, 16, 3), dtype=np.uint8)
    wide[:, 4:12] = 200
    x = images.read(saved(tmp_path, Image.fromarray(wide)), size=4)
    assert x.shape == (3, 4, 4)
    torch.testing.assert_close(x, torch.full_like(x, 200 / 255))


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.effect_noise((64, 64), 50))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="x.png"):
        images.read(path)


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing"):
        images.read_folder(tmp_path / "missing")
    with pytest.raises(UserError, match="no images"):
        images.read_folder(tmp_path)


def test_folders_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    batch = torch.stack([torch.full((3, 2, 2), level / 255) for level in (3, 1, 2)])
    images.write_folder(tmp_path, batch, ["c.jpg", "a.png", "b"])
    assert (images.read_folder(tmp_path)[:, 0, 0, 0] * 255).round().tolist() == [1, 2, 3]
    assert [p.name for p in images.files(tmp_path)] == ["a.png", "b.png", "c.png"]


def test_different_sizes_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, Image.fromarray(RGB), "a.png")
    saved(tmp_path, Image.fromarray(RGB[:2]), "b.png")
    with pytest.raises(UserError, match=r"b\.png"):
        images.read_folder(tmp_path)
    assert images.read_folder(tmp_path, size=2).shape == (2, 3, 2, 2)


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    batch = torch.zeros(2, 3, 2, 2)
    batch[1, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match=r"bad\.png"):
        images.write_folder(tmp_path, batch, ["good.png", "bad.png"])
    with pytest.raises(UserError, match="same name"):
        images.write_folder(tmp_path, torch.zeros(2, 3, 2, 2), ["a.png", "a.jpg"])


def test_resize_stays_in_range_and_is_exact_at_the_same_size() -> None:
    x = torch.zeros(1, 3, 8, 8)
    x[..., 4:] = 1
    small = images.resize(x, 5)
    assert small.min() >= 0 and small.max() <= 1
    assert images.resize(x, (8, 8)) is x


@pytest.mark.parametrize(
    ("tag", "kind", "count", "value"),
    [
        (0x0100, 6, 1, b"\xd7\xddY~"),
        (0x011A, 7, 1, b"\x1f\x0b\xd93"),
        (0x010F, 11, 1, b"\xbbU\x9do"),
    ],
    ids=["out of range", "bytes for a number", "a number for a text"],
)
def test_exif_that_cannot_be_written_again_is_named(
    tmp_path: Path, tag: int, kind: int, count: int, value: bytes
) -> None:
    turned = struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0)
    broken = struct.pack("<HHL", tag, kind, count) + value
    exif = b"Exif\0\0II*\0" + struct.pack("<LH", 8, 2) + turned + broken + bytes(4)
    path = saved(tmp_path, Image.fromarray(RGB), "x.jpg", exif=exif)
    with pytest.raises(UserError, match="x.jpg: not a readable image"):
        images.read(path)
