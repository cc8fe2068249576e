"""People from folders: splits, layouts and bad input."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from diffshortcut.artifacts import sources
from diffshortcut.data import folder, people, portraits
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError
from diffshortcut.pictures import images as pixels
from diffshortcut.seeding import Draws
from diffshortcut.stages import personalize, score
from diffshortcut.stages.inputs import Inputs


def photos(place: Path, count: int, suffix: str = ".png") -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new("RGB", (16, 16), (index, 0, 0)).save(place / f"{index:02}{suffix}")
    return place


def read(root: Path, people: int | list[str] | None = None) -> list:
    return folder.people(root=str(root), people=people)


def names(files: tuple[Path, ...]) -> list[str]:
    return [path.stem for path in files]


@pytest.mark.parametrize(
    ("count", "a", "b", "c"),
    [
        (12, "00 03", "04 07", "08 11"),
        (15, "00 03", "04 07", "08 11"),
        (11, "00 03", "00 03", "07 10"),
        (5, "00 02", "00 02", "03 04"),
        (2, "00 00", "00 00", "01 01"),
    ],
)
def test_loose_images_are_shared_out(tmp_path: Path, count: int, a: str, b: str, c: str) -> None:
    [person] = read(photos(tmp_path / "ann", count, ".jpg"))
    assert person.name == "ann"
    ends = [f"{names(s)[0]} {names(s)[-1]}" for s in (person.set_A, person.set_B, person.set_C)]
    assert ends == [a, b, c]
    assert not set(person.set_B) & set(person.set_C)


def test_layouts(tmp_path: Path) -> None:
    photos(tmp_path / "bob", 4)
    for name in ("set_B", "set_C"):
        photos(tmp_path / "ann" / name, 3)
    (tmp_path / "notes").mkdir()
    ann, bob = read(tmp_path)
    assert (ann.name, bob.name) == ("ann", "bob")
    assert ann.set_A == ann.set_B and len(ann.set_C) == 3
    assert read(tmp_path / "ann") == [ann]
    assert read(tmp_path, ["bob"]) == [bob]
    assert read(tmp_path, 1) == [ann]


def test_pictures_and_folders_of_people_in_one_place_are_refused(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", 2)
    photos(root / "ann", 2)
    with pytest.raises(UserError) as error:
        read(root, ["ann"])
    text = str(error.value)
    assert f"data.root={root / 'ann'}" in text and "a folder per person: put the loose" in text
    shutil.rmtree(root / "ann")
    photos(root / ".thumbnails", 2)  # a hidden folder is nobody
    assert [person.name for person in read(root, ["photos"])] == ["photos"]
    with pytest.raises(UserError, match="data.people: no 'ann'. There are: photos"):
        read(root, ["ann"])
    with pytest.raises(UserError, match="data.people=2: .*photos, one person, has 1 to 1"):
        read(root, 2)


def test_no_more_files_are_decoded_than_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    photos(tmp_path / "ann", 20)
    (tmp_path / "ann" / "03.png").write_text("not an image")
    decoded, defect = [], people.defect
    monkeypatch.setattr(people, "defect", lambda path: decoded.append(path.stem) or defect(path))
    with caplog.at_level(logging.INFO):
        [person] = read(tmp_path / "ann")
    assert decoded == [f"{index:02}" for index in range(13)]
    assert names(person.set_C) == ["09", "10", "11", "12"]
    assert "ann: the first 12 of 20 images are used" in caplog.messages


@pytest.fixture
def swapped(tmp_path: Path) -> tuple[Person, Path]:
    """A person whose file names sort otherwise without suffix, and an artifact of set_B.

    Every picture has a level of its own; the artifact's are one level above.
    """
    levels = {"me.jpg": 100, "me.new.jpg": 150, "me.new.old.png": 200}
    for each in ("set_B", "set_C"):
        (tmp_path / "ann" / each).mkdir(parents=True)
        for name, level in levels.items():
            Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / "ann" / each / name)
    [person] = read(tmp_path / "ann")
    batch = pixels.read_files(person.set_B, 8) + 1 / 255
    pixels.write_folder(tmp_path / "artifact" / "images", batch, [p.name for p in person.set_B])
    return person, tmp_path / "artifact"


def test_pictures_are_in_the_order_of_what_is_made_of_them(
    swapped: tuple[Person, Path],
) -> None:
    person, artifact = swapped
    assert [path.name for path in person.set_B] == ["me.new.old.png", "me.new.jpg", "me.jpg"]
    assert names(tuple(pixels.files(artifact / "images"))) == names(person.set_B)


def test_artifacts_are_paired_with_originals_by_name(
    swapped: tuple[Person, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    person, artifact = swapped
    mixed = Person(person.name, person.set_A, person.set_B[::-1], person.set_C)  # not sorted
    inputs = Inputs(person=mixed, artifacts=dict.fromkeys(("protected", "purified"), artifact))
    inputs.artifacts.update(dict.fromkeys(("images", "prior", "model", "generated"), artifact))
    (artifact / "prompts.json").write_text(json.dumps({"prompts": []}))
    seen = []

    class Trained:
        def save(self, out: Path) -> None: ...

        def trainable_parameters(self) -> list:
            return []

    def trainer(images, prior, draws, clean, log) -> Trained:  # noqa: ANN001
        seen.append((images, clean))
        return Trained()

    def metric(evidence) -> list:  # noqa: ANN001
        seen.extend((x, evidence.clean) for x in (evidence.protected, evidence.purified))
        return []

    given = {"inputs": inputs, "out": tmp_path, "draws": Draws(0, "score", "ann")}
    monkeypatch.setattr(score, "build", lambda *_: metric)
    monkeypatch.setattr(personalize, "build", lambda *_: trainer)
    score.run(config={"metric": {}}, **given)
    personalize.run(config={"trainer": {}}, **given)
    assert len(seen) == 3
    for made, clean in seen:
        torch.testing.assert_close(made - clean, torch.full_like(made, 1 / 255))
    (artifact / "images" / "me.new.png").unlink()
    with pytest.raises(UserError, match=r"me\.new\.png is missing"):
        score.run(config={"metric": {}}, **given)


@pytest.mark.parametrize("stage", ["protect", "purify", "personalize", "generate", "score"])
def test_readers_of_folders_are_no_part_of_a_stages_key(stage: str) -> None:
    queue, found = [f"diffshortcut.stages.{stage}"], set()
    while queue:
        module = queue.pop()
        if module not in found:
            found.add(module)
            queue.extend(name for name in sources.imports(module) if name not in sources.INERT)
    assert "diffshortcut.data.person" in found
    assert not {"diffshortcut.data.people", "diffshortcut.data.folder"} & found


def test_a_bad_image_is_named_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos(tmp_path / "ann", 5)
    broken = tmp_path / "ann" / "01.png"
    Image.effect_noise((64, 64), 50).save(broken)
    broken.write_bytes(broken.read_bytes()[:400])
    (tmp_path / "ann" / "02.png").write_text("not an image")
    (tmp_path / "ann" / "03.jpg").write_bytes((tmp_path / "ann" / "03.png").read_bytes())
    (tmp_path / "ann" / ".hidden.png").write_text("")
    (tmp_path / "ann" / "notes.txt").write_text("")
    with caplog.at_level(logging.WARNING):
        [person] = read(tmp_path / "ann")
    assert names(person.set_B + person.set_C) == ["00", "03", "04"]
    messages = caplog.messages
    assert len(messages) == 4
    assert "01.png is left out" in messages[0] and "truncated" in messages[0]
    assert "02.png is left out" in messages[1]
    assert "03.png has its name" in messages[2] or "03.jpg has its name" in messages[2]
    assert "notes.txt: left out, of no kind that is read" in messages[3]


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16", "P", "CMYK"])
def test_unusual_modes_are_images(tmp_path: Path, mode: str) -> None:
    for index in range(2):
        Image.new(mode, (8, 8)).save(tmp_path / f"{index}.tif")
    assert len(read(tmp_path)) == 1


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder .*/nowhere"):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no images"):
        read(tmp_path / "empty")
    with pytest.raises(UserError, match="one: 1 readable images"):
        read(photos(tmp_path / "one", 1))
    people = tmp_path / "people"
    for name in ("alice", "bob"):
        photos(people / name, 2)
    with pytest.raises(UserError, match="no 'alcie'. Did you mean 'alice'\\? There are: alice"):
        read(people, ["alcie"])
    with pytest.raises(UserError, match="data.people=3: .* has 1 to 2"):
        read(people, 3)
    (people / "bob" / "set_B").mkdir()
    with pytest.raises(UserError, match="bob: no readable image in set_B"):
        read(people, ["bob"])


def test_the_digest_is_of_the_content_not_of_the_place(tmp_path: Path) -> None:
    first = photos(tmp_path / "x" / "ann", 4)
    second = tmp_path / "y" / "ann"
    shutil.copytree(first, second)
    [a], [b] = read(first), read(second)
    assert a.digest(["set_B", "set_C"]) == b.digest(["set_B", "set_C"]) != a.digest(["set_B"])
    Image.new("RGB", (16, 16), "white").save(second / "03.png")
    assert a.digest(["set_B"]) == b.digest(["set_B"])
    assert a.digest(["set_C"]) != b.digest(["set_C"])


def test_portraits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portraits, "ROOT", tmp_path)
    for person in ("p01", "p00"):
        for each in ("set_A", "set_B", "set_C"):
            photos(tmp_path / person / each, 2)
    found = portraits.people(people=None)
    assert [person.name for person in found] == ["p00", "p01"]
    assert found[0].set_A != found[0].set_B
    with pytest.raises(UserError, match="data.people=3: portraits has 1 to 2"):
        portraits.people(people=3)


def own(root: Path, people: int | list[str] | None = None) -> list[Person]:
    return folder.people(root=str(root), people=people, stages="protect")


@pytest.mark.parametrize("count", [1, 2, 15])
def test_every_photo_is_protected_if_that_is_all_there_is_to_do(tmp_path: Path, count: int) -> None:
    [person] = own(photos(tmp_path / "ann", count, ".jpg"))
    assert names(person.set_B) == [f"{index:02}" for index in range(count)]
    assert person.set_A == person.set_B and person.set_C == ()


def test_photos_in_sets_stay_in_them(tmp_path: Path) -> None:
    photos(tmp_path / "ann" / "set_B", 3)
    [alone] = own(tmp_path / "ann")
    assert alone.set_A == alone.set_B and len(alone.set_B) == 3 and alone.set_C == ()
    photos(tmp_path / "ann" / "set_A", 2)
    [ann] = own(tmp_path)
    assert (len(ann.set_A), ann.set_B) == (2, alone.set_B)
    with pytest.raises(UserError, match="no readable image in set_C"):
        read(tmp_path / "ann")


def test_what_is_not_protected_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos(tmp_path / "ann", 3)
    (tmp_path / "ann" / "01.png").write_text("not an image")
    (tmp_path / "ann" / "02.jpg").write_bytes((tmp_path / "ann" / "02.png").read_bytes())
    (tmp_path / "ann" / "IMG.HEIC").write_text("")
    photos(tmp_path / "bob", 1)
    with caplog.at_level(logging.INFO):
        [ann] = own(tmp_path, 1)
    assert names(ann.set_B) == ["00", "02"]
    said = "\n".join(caplog.messages)
    assert "01.png is left out: cannot identify" in said and "02.png is left out: 02.jpg" in said
    assert "IMG.HEIC: left out, of no kind that is read (.bmp" in said
    assert "1 of 2 people are taken: data.people=null for all" in said
    (tmp_path / "bob" / "00.png").write_text("not an image")
    with pytest.raises(UserError, match="bob: no readable image"):
        own(tmp_path, ["bob"])


def test_a_person_has_a_name_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos(tmp_path / "ann", 2) / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "ann" / "inside")
    assert [person.name for person in own(Path(".."))] == ["ann"]
