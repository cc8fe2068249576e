"""The scan of a data set, and squares around faces."""

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffshortcut.data import __main__ as scan
from diffshortcut.data import portraits
from diffshortcut.errors import UserError
from diffshortcut.job import command
from diffshortcut.models.face_square import FaceSquare
from diffshortcut.models.faces import Face, load_detector
from diffshortcut.pictures.decode import ORIENTATION

PORTRAIT = portraits.ROOT / "person_003" / "set_A" / "00.png"


def field(width: int, height: int, left: int, top: int) -> Image.Image:
    """A portrait of 128 pixels somewhere in a grey picture."""
    picture = Image.new("RGB", (width, height), "grey")
    picture.paste(Image.open(PORTRAIT), (left, top))
    return picture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ann: two photos with a face, one of them lying, and one of nothing; Bob: one small photo."""
    ann = tmp_path / "photos" / "ann"
    ann.mkdir(parents=True)
    field(320, 160, 180, 20).save(ann / "0.png")
    lying = field(160, 320, 20, 180).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned clockwise
    lying.save(ann / "1.jpg", quality=95, exif=exif)
    Image.new("RGB", (200, 300), "grey").save(ann / "2.png")
    (ann / "3.png").write_text("not an image")
    (tmp_path / "photos" / "bob").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / "bob" / "0.png")
    return tmp_path / "photos"


def scanned(monkeypatch: pytest.MonkeyPatch, capsys: Any, *words: str) -> tuple[Any, str]:
    monkeypatch.setattr(sys, "argv", ["scan", *words])
    with pytest.raises(SystemExit) as end:
        scan.main()
    return end.value.code, capsys.readouterr().out


def test_a_scan_says_what_is_there_and_what_is_wrong(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    given = ["scan", "data=folder", f"data.root={photos}"]
    code, said = scanned(monkeypatch, capsys, *given)
    assert code == 1
    cells = [
        [c.strip() for c in line.split("│")[1:-1]] for line in said.splitlines() if "│" in line
    ]
    assert cells == [["ann", "= set_B", "2", "1", "160 to 200", "0", "1"]]
    lines = said.splitlines()[-3:]
    assert lines[0].startswith("bob: 1 readable images")
    assert "3.png is left out: cannot identify image file" in lines[1]
    assert lines[2] == f"{photos / 'ann' / '2.png'}: no face found"
    code, said = scanned(monkeypatch, capsys, *given, "data.people=[bob]", "stages=protect")
    assert code == 1 and "0.png: 64 pixels, the models' pictures have 128" in said
    assert not (tmp_path / "outputs").exists()


def test_a_scan_of_good_pictures_ends_well(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    people = "data.people=[person_000,person_003]"
    code, said = scanned(monkeypatch, capsys, "scan", people)
    assert (code, said.splitlines()[-1]) == (0, "nothing is wrong")
    code, said = scanned(monkeypatch, capsys, "scan", "data=paintings")
    assert (code, said.count(" - │")) == (0, 8)  # no face is looked for


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "usage: python -m diffshortcut.data scan"),
        ("scan data=folder data.root=/nowhere", "error: data.root: no folder /nowhere"),
        ("scan data=paintngs", "error: no data 'paintngs'. Did you mean 'paintings'?"),
        ("scan data=paintings metric=ims", "error: metric.ims compares faces"),
        ("scan --hlp", "error: no option '--hlp'. Did you mean '--help'?"),
    ],
)
def test_what_cannot_be_scanned_is_told(
    words: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    code, _ = scanned(monkeypatch, capsys, *words.split())
    assert str(code).startswith(message)


def test_missing_weights_of_the_detector_are_told_below_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    missing = "zoo.detector.weights=mini:none"
    code, said = scanned(monkeypatch, capsys, "scan", "data.people=1", missing)
    assert code == 1 and "person_000" in said and "faces were not looked for: " in said


class Box:
    """A detector that has found one box."""

    def __init__(self, *box: float) -> None:
        self.box = torch.tensor(box)

    def detect(self, images: torch.Tensor) -> list[list[Face]]:
        return [[Face(box=self.box, score=1.0, points=torch.zeros(5, 2))]]


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((40, 30, 60, 50), (20, 30, 40)),  # twice as long, around the same center
        ((0, 0, 20, 10), (0, 0, 40)),  # moved into the photo
        ((90, 70, 100, 80), (60, 80, 20)),
        ((10, 10, 90, 70), (0, 10, 80)),  # no longer than the photo's shorter side
    ],
)
def test_a_square_is_around_the_face_and_inside_the_photo(box: tuple, place: tuple) -> None:
    crop = FaceSquare(detector=Box(*box), side=2.0)
    assert crop.find(torch.zeros(3, 80, 100)) == place


def test_squares_stand_in_for_photos(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = ["data=folder", f"data.root={photos}", "data.people=[ann]", "data.split=[0,2,1]"]
    places = [f"runtime.store={tmp_path / 'store'}", f"runtime.outputs={tmp_path}"]
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    plain = command.comparison([*given, *places])
    with caplog.at_level(logging.WARNING):
        cropped = command.comparison([*given, *places, "crop=face"])
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == before
    assert "ann: no face found, so the center square is taken: set_C/2.png" in caplog.messages
    [ann], [original] = cropped.people, plain.people
    assert ann.set_A == ann.set_B and [path.name for path in ann.set_B] == ["0.png", "1.png"]
    assert ann.digest(["set_B"]) != original.digest(["set_B"])
    detector = load_detector(weights="mini:detector", size=128)
    for path in ann.set_B:
        square = np.asarray(Image.open(path))
        assert square.shape[0] == square.shape[1] < 160
        pixels = torch.from_numpy(square / 255).permute(2, 0, 1)[None].float()
        [[face]] = detector.detect(pixels)
        center = (face.box[:2] + face.box[2:]) / 2 / len(square)
        assert (center - 0.5).abs().max() < 0.1  # in the middle, and upright
        assert (face.points[:2, 1] < face.points[3:, 1]).all()  # eyes above the mouth
    assert Image.open(ann.set_C[0]).size == (200, 200)
    again = command.comparison([*given, *places, "crop=face"])
    assert again.people == cropped.people
    assert len(list((tmp_path / "store" / "crop").iterdir())) == 1


def test_a_photo_that_is_gone_is_named(photos: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from diffshortcut.stages import crop

    def unreadable(path: Path) -> torch.Tensor:
        raise UserError(f"{path}: not a readable image")

    monkeypatch.setattr(crop, "read", unreadable)
    given = ["data=folder", f"data.root={photos / 'ann'}", f"runtime.store={tmp_path / 'store'}"]
    with pytest.raises(UserError, match="crop ann .*0.png: not a readable image"):
        command.comparison([*given, "crop=face"])
