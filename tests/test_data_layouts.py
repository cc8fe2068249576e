"""Anti-DreamBooth's layout, WikiArt's, the drawn paintings, and a declared split."""

import json
import logging
import pickle
from pathlib import Path

import pytest
from PIL import Image

from diffshortcut.config import config
from diffshortcut.data import antidreambooth, folder, paintings, wikiart
from diffshortcut.data.people import PeopleError, Prompted
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError
from diffshortcut.graph import cells


def pictures(place: Path, *names: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        Image.new("RGB", (16, 16), (index, 0, 0)).save(place / f"{name}.png")
    return place


def names(files: tuple[Path, ...]) -> list[str]:
    return [path.stem for path in files]


@pytest.fixture
def vggface(tmp_path: Path) -> Path:
    """Two people; the files of the sets were not written in the order of their names."""
    for person in ("n000057", "n000050"):
        for each in ("set_B", "set_A", "set_C"):
            pictures(tmp_path / person / each, "0412", "0012", "0114", "0071")
        (tmp_path / person / "class.txt").write_text("face\n")
        texts = ["a photo of @@@ person", "", "  a dslr portrait of @@@ person  ", "a face"]
        (tmp_path / person / "prompts.txt").write_text("\r\n".join(texts))
    pictures(tmp_path / "class-person", "00")
    return tmp_path


def vgg(root: Path, people: int | list[str] | None = None, **others: object) -> list[Person]:
    return antidreambooth.people(root=str(root), people=people, **others)  # type: ignore[arg-type]


def test_people_and_files_are_in_order(vggface: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found = vgg(vggface)
    assert [person.name for person in found] == ["n000050", "n000057"]
    for person in found:
        for files in (person.set_A, person.set_B, person.set_C):
            assert names(files) == ["0012", "0071", "0114", "0412"]
        assert person.set_A != person.set_B and not isinstance(person, Prompted)
    assert caplog.messages == ["class-person: left out, without a set_B"]
    assert vgg(vggface / "n000057") == found[1:]
    assert vgg(vggface, ["n000057"]) == found[1:]


def test_a_prompts_txt_gives_the_samplers_prompts_when_asked(vggface: Path) -> None:
    [person] = vgg(vggface, 1, prompts=2, identifier="zwx")
    asked = ["a photo of zwx person", "a dslr portrait of zwx person"]
    assert isinstance(person, Prompted) and list(person.prompts) == asked
    cfg = config.resolve(config.compose([]))
    cell, plain = (cells.plan(cfg, each) for each in (person, vgg(vggface, 1)[0]))
    assert cell["generate"].config["sampler"]["prompts"] == asked
    assert cell["generate"].key != plain["generate"].key
    assert cell["personalize"].key == plain["personalize"].key
    assert plain["generate"].config["sampler"] == cfg["sampler"]


def test_mistakes_of_the_layout_are_named(vggface: Path) -> None:
    one = vggface / "n000050"
    with pytest.raises(UserError, match="'a face' lacks @@@"):
        vgg(one, prompts=3)
    with pytest.raises(UserError, match="prompts.txt has 3 prompts, data.prompts=4"):
        vgg(one, prompts=4)
    with pytest.raises(UserError, match="data.prompts=0: 1 at least"):
        vgg(one, prompts=0)
    (one / "prompts.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="prompts.txt: not UTF-8 text"):
        vgg(one, prompts=1)
    (one / "prompts.txt").unlink()
    with pytest.raises(UserError, match="no file .*prompts.txt"):
        vgg(one, prompts=1)
    assert len(vgg(one)) == 1  # nobody asks for it
    with pytest.raises(UserError, match="class-person: no folder in it has a set_B"):
        vgg(vggface / "class-person")


def test_a_class_txt_means_a_person_to_the_trainer_and_a_face_to_clip(vggface: Path) -> None:
    assert len(vgg(vggface, class_noun="person", subject="face")) == 2
    (vggface / "n000057" / "class.txt").write_text("dog")
    message = r"class.txt says dog: write prompts.class_noun='dog' prompts.subject='dog'"
    with pytest.raises(PeopleError, match=message) as error:
        vgg(vggface)
    assert [person.name for person in error.value.read] == ["n000050"]  # the others are known
    sent = pickle.loads(pickle.dumps(error.value))  # by a job in another process
    assert (str(sent), sent.read) == (str(error.value), error.value.read)
    assert len(vgg(vggface, ["n000057"], class_noun="dog", subject="dog")) == 1
    with pytest.raises(UserError, match="says face: write prompts.class_noun='person'"):
        vgg(vggface, 1, class_noun="face")
    cfg = config.resolve(config.compose(["data=antidreambooth", f"data.root={vggface}"]))
    assert (cfg["data"]["class_noun"], cfg["data"]["subject"]) == ("person", "face")
    assert cfg["metric"]["quality"]["subject"] == "face"


@pytest.fixture
def monet(tmp_path: Path) -> Path:
    for part, works in (("train", "cadbfe"), ("test", "hgi")):
        place = pictures(tmp_path / "monet" / "clean" / part, *works)
        lines = [{"file_name": f"{name}.png", "text": f"work {name}"} for name in works]
        (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    return tmp_path


def art(root: Path, **others: object) -> Prompted:
    given = {"root": str(root), "people": 1, "split": [3, 3, 2]} | others
    [artist] = wikiart.people(**given)  # type: ignore[arg-type]
    assert isinstance(artist, Prompted)
    return artist


def test_an_artists_works_are_split_in_order(monet: Path) -> None:
    artist = art(monet)
    sets = [names(files) for files in (artist.set_A, artist.set_B, artist.set_C)]
    assert sets == [["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]
    assert artist.name == "monet" and artist.prompts == ()
    few = art(monet, split=[4, 4, 4])
    assert few.set_A == few.set_B and names(few.set_B) == ["a", "b", "c", "d"]
    alike = art(monet, split=[0, 4, 4])
    assert (alike.set_A, alike.set_B, alike.set_C) == (few.set_A, few.set_B, few.set_C)
    (monet / "monet" / "clean").rename(monet / "manet")
    assert art(monet).name == "manet"  # without clean/
    assert art(monet / "manet").name == "manet"


def test_captions_of_held_out_works_are_prompts_when_asked(monet: Path) -> None:
    style = "in the style of zwx"
    artist = art(monet, prompts=2, identifier="zwx")
    assert artist.prompts == (f"work g {style}", f"work h {style}")
    with pytest.raises(UserError, match="data.prompts=3: monet has 2"):
        art(monet, prompts=3)
    file = monet / "monet" / "clean" / "test" / "metadata.jsonl"
    file.write_text('{"file_name": "g.png", "text": "@@@, a garden"}\n')
    assert art(monet, prompts=1, identifier="zwx").prompts == ("zwx, a garden",)
    with pytest.raises(UserError, match="metadata.jsonl has no text for h.png"):
        art(monet, prompts=2)
    for line in ("{", "[]", '{"file_name": "g.png"}', '{"file_name": 1, "text": ""}', "[" * 9999):
        file.write_text(f'{{"file_name": "g.png", "text": "x"}}\n{line}\n')
        with pytest.raises(UserError, match="line 2 is not {"):
            art(monet, prompts=1)
    file.unlink()
    with pytest.raises(UserError, match="no file .*metadata.jsonl"):
        art(monet, prompts=1)
    assert art(monet).prompts == ()


def test_an_artist_without_works_is_named(monet: Path) -> None:
    for path in (monet / "monet" / "clean" / "test").glob("*.png"):
        path.write_text("not an image")
    with pytest.raises(UserError, match="clean: no readable image in test"):
        art(monet)
    (monet / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no folder in it has train and test"):
        art(monet / "empty")


def test_the_paintings_of_the_package() -> None:
    artists = paintings.people(people=None, prompts=4)
    assert len(artists) == 8
    contents = set()
    for artist in artists:
        assert isinstance(artist, Prompted) and len(set(artist.prompts)) > 1
        assert all(text.endswith(" in the style of sks") for text in artist.prompts)
        for files in (artist.set_A, artist.set_B, artist.set_C):
            assert len(files) == 4 and {Image.open(p).size for p in files} == {(128, 128)}
            contents.update(path.read_bytes() for path in files)
    assert len(contents) == 96
    assert sum(map(len, contents)) < 1_500_000


@pytest.mark.parametrize(
    ("count", "split", "sets"),
    [
        (12, [2, 5, 1], ["00 01", "02 03 04 05 06", "07"]),
        (6, [0, 3, 2], ["00 01 02", "00 01 02", "03 04"]),
        (6, [2, 5, 1], ["00 01 02 03 04", "00 01 02 03 04", "05"]),
        (3, [4, 4, 4], ["00 01", "00 01", "02"]),
    ],
)
def test_a_split_is_declared(tmp_path: Path, count: int, split: list[int], sets: list[str]) -> None:
    pictures(tmp_path / "ann", *(f"{index:02}" for index in reversed(range(count))))
    [ann] = folder.people(root=str(tmp_path), people=1, split=split)
    assert [" ".join(names(files)) for files in (ann.set_A, ann.set_B, ann.set_C)] == sets


@pytest.mark.parametrize("split", [[4, 4], [4, 4, 0], [-1, 4, 4], [4, 0, 4]])
def test_a_split_of_no_use_is_refused(tmp_path: Path, split: list[int]) -> None:
    with pytest.raises(UserError, match="data.split=.*: three numbers, of set_A"):
        folder.people(root=str(tmp_path), people=1, split=split)
