"""stages=protect and purify: own photos, of any size, from the folder to the files made."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from diffshortcut import run
from diffshortcut.attacks.advdm import AdvDM
from diffshortcut.attacks.perturbation import Perturbation
from diffshortcut.attacks.pgd import gradient_of
from diffshortcut.attacks.scene import Scene, View
from diffshortcut.config import arms
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError
from diffshortcut.graph import cells, execute
from diffshortcut.job import command, own_photos, results
from diffshortcut.models import ldm
from diffshortcut.pictures import squares
from diffshortcut.pictures.decode import rgb
from diffshortcut.pictures.images import center_square, quantize, resize
from diffshortcut.purifiers.adverse_cleaner import AdverseCleaner
from diffshortcut.purifiers.jpeg import Jpeg
from diffshortcut.purifiers.noise import GaussianNoise
from diffshortcut.purifiers.vae import RoundTrip
from diffshortcut.report import photos, side_by_side
from diffshortcut.result_files import RECORD
from diffshortcut.seeding import Draws
from diffshortcut.stages import protect
from diffshortcut.stages.inputs import Inputs

SIZE = 32
SHAPES = {"wide.jpg": (40, 71), "tall.png": (90, 33), "tiny.png": (9, 14), "same.png": (32, 32)}
DRAWS = Draws(0, "protect", "ann")
RANDOM = {"_target_": "diffshortcut.attacks.random_noise.RandomNoise", "radius": 11}


def smooth(height: int, width: int, seed: int = 0) -> Tensor:
    """A photo (3, h, w) in exact 8-bit levels, black and white in places."""
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.2
    return quantize(resize(coarse.clamp(0, 1), (height, width)))[0]


def as_picture(photo: Tensor) -> Image.Image:
    return Image.fromarray((photo * 255).round().byte().permute(1, 2, 0).numpy())


def pixels(path: Path) -> np.ndarray:
    """What another program reads."""
    return np.asarray(rgb(path)).astype(int)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A person's folder of photos of all sizes."""
    (tmp_path / "ann").mkdir()
    for seed, (name, shape) in enumerate(SHAPES.items()):
        as_picture(smooth(*shape, seed=seed)).save(tmp_path / "ann" / name)
    return tmp_path / "ann"


def scene(photos: list[Tensor]) -> Scene:
    names = tuple(f"{i}.png" for i in range(len(photos)))
    view = View(SIZE, squares.sides(photos))
    clean = view(squares.stack(photos), range(len(photos)))
    return Scene(images=squares.stack(photos), clean=clean, prior=None, names=names, view=view)


def test_squares_go_into_a_batch_and_back() -> None:
    originals = [smooth(*shape, seed=seed) for seed, shape in enumerate(SHAPES.values())]
    batch = squares.stack(originals)
    assert batch.shape == (4, 3, 40, 40)
    assert torch.equal(batch[0], center_square(originals[0]))
    assert torch.equal(batch[2, :, :9, :9], originals[2][:, :, 2:11]) and not batch[2, :, 9:].any()
    kept = [photo.clone() for photo in originals]
    changed = squares.put_back(1 - batch, originals)
    assert all(map(torch.equal, kept, originals))
    for before, after in zip(originals, changed, strict=True):
        assert torch.equal(center_square(after), 1 - center_square(before))
        equal = (after == before).all(0)
        height, width = equal.shape
        assert int(equal.sum()) >= height * width - min(height, width) ** 2
    assert torch.equal(changed[0][:, :, :15], originals[0][:, :, :15])
    assert torch.equal(changed[1][:, :28], originals[1][:, :28])


def first_gradient(attack: Perturbation, where: Scene, loss: Any, draws: Draws) -> Tensor:
    return attack.slopes(where.images, where, gradient_of(loss), draws, 0)


@pytest.mark.parametrize("shape", SHAPES.values())
def test_the_gradient_goes_through_the_resize(shape: tuple[int, int]) -> None:
    photo = smooth(*shape).double() * 0.8 + 0.1  # away from where the resize clips
    where = scene([photo])
    weight = smooth(SIZE, SIZE, seed=9).double() + 0.1

    def seen_loss(x: Tensor, images: range, step: int) -> Tensor:
        return (weight * x.square()).flatten(1).sum(1)

    def loss(photo: Tensor) -> Tensor:
        return seen_loss(resize(center_square(photo)[None], SIZE), range(1), 0)[0]

    direction = first_gradient(Perturbation(radius=8), where, seen_loss, DRAWS)
    step = 1e-6 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(1)).double()
    change = (loss(photo + step) - loss(photo - step)) / 2
    slope = squares.put_back(direction, [torch.zeros_like(photo)])[0]
    assert float((slope * step).sum()) == pytest.approx(float(change), rel=1e-5)
    assert (center_square(slope) != 0).all()  # every pixel of the square is optimized


@pytest.fixture
def model(tiny_ldm_folder: Path) -> dict[str, str]:
    return {"_target_": "diffshortcut.models.ldm.load", "weights": f"file:{tiny_ldm_folder}"}


def test_a_photo_has_the_same_gradient_alone_and_among_others(model: dict[str, str]) -> None:
    attack = AdvDM(radius=8, steps=1, surrogate=ldm.load(weights=model["weights"]), prompt="sks")
    originals = [smooth(*shape, seed=seed) for seed, shape in enumerate(SHAPES.values())]
    together = scene(originals)
    loss = attack.objective(together, DRAWS)
    whole = first_gradient(attack, together, loss, DRAWS)
    for number, photo in enumerate(originals):
        draws, side = DRAWS.from_image(number), min(photo.shape[1:])
        alone = scene([photo])
        single = first_gradient(attack, alone, attack.objective(alone, draws), draws)
        square = whole[number : number + 1, :, :side, :side]
        assert (single - square).abs().max() <= 1e-4 * single.abs().max()
        assert not whole[number, :, side:].any() and not whole[number, :, :, side:].any()


def run_stage(folder: Path, out: Path, attack: dict[str, Any], **config: Any) -> dict[str, Any]:
    files = tuple(folder / name for name in sorted(SHAPES))
    person = Person("ann", files, files, ())
    out.mkdir()
    given = {"attack": attack, "resolution": SIZE, "full_size": True, **config}
    return protect.run(config=given, inputs=Inputs(person=person), out=out, draws=DRAWS)


def outside(shape: tuple[int, ...]) -> np.ndarray:
    """Where in a photo (h, w, 3) no model looks."""
    mask, side = np.ones(shape, bool), min(shape[:2])
    top, left = ((length - side) // 2 for length in shape[:2])
    mask[top : top + side, left : left + side] = False
    return mask


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the objective that is told of an attack."""
    monkeypatch.setattr(protect, "HELD_OUT", 2)


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("random_start", [False, True])
def test_only_the_square_is_changed_and_within_the_bound(
    folder: Path, tmp_path: Path, model: dict[str, str], random_start: bool
) -> None:
    target = {"_target_": "diffshortcut.attacks.advdm.AdvDM", "surrogate": model}
    schedule = {"radius": 6.6, "step": 2, "steps": 3, "random_start": random_start}
    attack = {**target, **schedule, "prompt": "a photo of sks person"}
    facts = run_stage(folder, tmp_path / "out", attack)
    for name, shape in SHAPES.items():
        before = pixels(folder / name)
        after = pixels(tmp_path / "out" / "images" / f"{Path(name).stem}.png")
        assert after.shape == before.shape == (*shape, 3)
        change = np.abs(after - before)
        assert change.max() == 6 and not change[outside(change.shape)].any()
        assert (change[~outside(change.shape)] > 0).mean() > 0.7
    assert facts["max"] == 6
    assert facts["objective"]["protected"] != facts["objective"]["clean"]


def test_a_photo_is_measured_over_its_own_pixels(folder: Path, tmp_path: Path) -> None:
    facts = run_stage(folder, tmp_path / "out", RANDOM)
    changes = [
        np.abs(
            pixels(tmp_path / "out" / "images" / f"{Path(name).stem}.png") - pixels(folder / name)
        )
        for name in SHAPES
    ]
    assert facts["max"] == 11
    assert facts["mean"] == pytest.approx(np.mean([change.mean() for change in changes]))
    assert facts["at_bound"] == pytest.approx(np.mean([(c == 11).mean() for c in changes]))
    error = np.mean([np.square(change / 255).mean() for change in changes])
    assert facts["psnr"] == pytest.approx(-10 * np.log10(error))
    for name, change in zip(SHAPES, changes, strict=True):
        found = photos.measure(folder / name, tmp_path / "out" / "images" / f"{name[:4]}.png")
        assert (found["height"], found["width"]) == SHAPES[name] and found["max"] == 11
        assert found["mean"] == pytest.approx(change.mean())
        assert found["psnr"] == pytest.approx(-10 * np.log10(np.square(change / 255).mean()))


def test_a_change_outside_of_the_square_counts_too() -> None:
    before = smooth(10, 30) * 0.5
    after = before.clone()
    after[0, 0, 0] += 12 / 255
    with pytest.raises(UserError, match=r"me\.png: changed by 12 levels, radius 11"):
        protect.perturbation([after], [before], ["me.png"], 11)


def test_photos_that_need_much_memory_are_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_stage(folder, tmp_path / "little", RANDOM)
    assert not caplog.messages
    monkeypatch.setattr(protect, "MUCH", 1e5)
    run_stage(folder, tmp_path / "much", RANDOM)
    assert "4 photos of up to 40 x 40 pixels need about" in caplog.text


def launch(place: Path, root: Path | str, *more: str) -> list[cells.Failure]:
    return run.launch(overrides(place, root, *more))


@pytest.mark.parametrize("learns", [False, True])
def test_only_what_learns_other_pictures_misses_them(
    folder: Path,
    tmp_path: Path,
    model: dict[str, str],
    learns: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AdvDM, "learns_set_A", learns, raising=False)
    target = {"_target_": "diffshortcut.attacks.advdm.AdvDM", "surrogate": model}
    attack = {**target, "radius": 6, "step": 2, "steps": 1, "prompt": "a photo of sks person"}
    facts = run_stage(folder, tmp_path / "out", attack)
    assert ("no_set_A" in facts["flags"]) == learns


def overrides(place: Path, root: Path | str, *more: str) -> list[str]:
    paths = [f"runtime.store={place}/store", f"runtime.outputs={place}/outputs"]
    given = ["stages=protect", "data=folder", f"data.root={root}", "runtime.threads=1"]
    return [*given, *paths, *more]


def made(place: Path) -> Path:
    [found] = (place / "outputs").glob("protected-*")
    return found


@pytest.mark.usefixtures("few_draws")
def test_photos_are_protected_on_the_mini_zoo(tmp_path: Path, capsys: Any) -> None:
    """End to end: one photo of a phone, wider than high, protected against a real small model."""
    (tmp_path / "PHOTOS").mkdir()
    original = tmp_path / "PHOTOS" / "me at home.jpg"
    as_picture(smooth(150, 200)).save(original)
    attack = ["attack=advdm", "debug=quick"]
    assert launch(tmp_path, tmp_path / "PHOTOS", *attack) == []
    folder, said = made(tmp_path), capsys.readouterr().out
    protected_file = folder / "PHOTOS" / "me at home.png"
    assert folder.name.startswith("protected-advdm-") and results.is_complete(folder)
    change = np.abs(pixels(protected_file) - pixels(original))
    assert change.max() == 11 and not change[:, :25].any() and not change[:, 175:].any()
    report = json.loads((folder / "protected.json").read_text())
    [photo] = report["photos"]
    assert photo["file"] == "PHOTOS/me at home.png" and photo["original"] == original.name
    assert (photo["width"], photo["height"], photo["max"]) == (200, 150, 11)
    assert photo["mean"] == pytest.approx(change.mean()) and report["radius"] == 11
    assert "no_set_A" not in report["flags"].get("PHOTOS", {})  # AdvDM learns nothing
    for words in ("200 x 150", "11 of at most 11 levels", "outside of it is not changed",
                  "side_by_side.png"):  # fmt: skip
        assert words in said
    stored = [path.name for path in (tmp_path / "store").iterdir()]
    assert {"prior", "personalize", "generate", "score"}.isdisjoint(stored)
    again = overrides(tmp_path, tmp_path / "PHOTOS", *attack)
    code = f"from diffshortcut import run; import sys; assert run.launch({again!r}) == []\n"
    code += "assert not {'torch', 'wandb'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == said


@pytest.fixture
def no_stage_runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def forbid() -> None:
        monkeypatch.setattr(execute, "do", lambda *_: pytest.fail("a stage has run"))

    return forbid


@pytest.mark.parametrize("name", ["ann/tiny.png", "side_by_side.png", "protected.json"])
def test_a_damaged_folder_is_written_again(
    folder: Path, tmp_path: Path, no_stage_runs: Callable[[], None], name: str
) -> None:
    launch(tmp_path, folder, "attack=random")
    place = made(tmp_path)
    before = (place / name).read_bytes()
    (place / name).write_bytes(b"")
    assert not results.is_complete(place)
    no_stage_runs()
    launch(tmp_path, folder, "attack=random")
    assert (place / name).read_bytes() == before and results.is_complete(place)
    assert not [path for path in place.rglob(".*")]


def test_a_photo_that_changed_before_the_report_leaves_no_result(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = next(path for path in sorted(folder.rglob("*.png")))
    content, ran = photo.read_bytes(), execute.run

    def then_changed(*given: Any, **more: Any) -> Any:
        failures = ran(*given, **more)
        Image.new("RGB", Image.open(photo).size).save(photo)
        return failures

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(execute, "run", then_changed)
        with pytest.raises(UserError, match="its inputs have changed"):
            launch(tmp_path, folder, "attack=random")
    assert not results.is_complete(made(tmp_path))
    photo.write_bytes(content)
    assert launch(tmp_path, folder, "attack=random") == []
    assert results.is_complete(made(tmp_path))
    report = json.loads((made(tmp_path) / "protected.json").read_text())
    assert max(one["max"] for one in report["photos"]) <= report["radius"]


@pytest.mark.parametrize("record", ["[]", "{}", '{"files": []}', '{"files": {}}', "[" * 100_000])
def test_a_record_of_another_form_completes_nothing(
    folder: Path, tmp_path: Path, record: str
) -> None:
    launch(tmp_path, folder, "attack=random")
    place = made(tmp_path)
    assert results.is_complete(place)
    (place / RECORD).write_text(record)
    assert not results.is_complete(place)
    assert launch(tmp_path, folder, "attack=random") == [] and results.is_complete(place)


def special(folder: Path) -> None:
    """Photos as cameras, phones and drawing programs leave them."""
    face = as_picture(smooth(30, 44) * 0.8)
    turned = Image.Exif()
    turned[0x0112] = 6
    face.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=turned)
    face.convert("L").save(folder / "grey.png")
    Image.new("RGBA", (20, 20), (200, 0, 0, 0)).save(folder / "clear.png")
    deep = np.asarray(face.convert("L"), np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.tif")
    face.convert("CMYK").save(folder / "print.jpg")


def test_every_kind_of_picture_is_protected(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "ann").mkdir()
    special(tmp_path / "ann")
    assert launch(tmp_path, tmp_path / "ann", "attack=random") == []
    folder, said = made(tmp_path), capsys.readouterr().out
    rows = {p["original"]: p for p in json.loads((folder / "protected.json").read_text())["photos"]}
    assert {row["max"] for row in rows.values()} == {11} and len(rows) == 5
    assert {name: row["note"] for name, row in rows.items()} == {
        "turned.png": "turned upright",
        "grey.png": "grey, now in color",
        "clear.png": "transparency laid on white",
        "deep.tif": "16-bit, now 8-bit, grey, now in color",
        "print.jpg": "",
    }
    for name, row in rows.items():
        with Image.open(folder / "ann" / f"{Path(name).stem}.png") as written:
            assert written.mode == "RGB" and written.getexif().get(0x0112, 1) == 1
            assert written.size == (row["width"], row["height"])
    assert (rows["turned.png"]["width"], rows["turned.png"]["height"]) == (44, 30)
    assert pixels(folder / "ann" / "clear.png").min() >= 255 - 11
    assert "transparency laid on white" in said


def test_a_person_that_fails_is_said_and_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name in ("ann", "bob"):
        (tmp_path / "people" / name).mkdir(parents=True)
        as_picture(smooth(20, 30)).save(tmp_path / "people" / name / "me.png")
    words = [tmp_path, tmp_path / "people", "attack=random", "data.people=null"]

    def breaking(**given: Any) -> dict[str, Any]:
        if given["inputs"].person.name in broken:
            raise UserError("it broke")
        return whole(**given)

    whole, broken = protect.run, {"ann", "bob"}
    monkeypatch.setattr(protect, "run", breaking)
    with pytest.raises(UserError, match="no photo could be protected"):
        launch(*words)
    broken.remove("ann")
    [failure] = launch(*words)
    place, said = made(tmp_path), capsys.readouterr().out
    assert failure.reason == "it broke" and "not done: protect bob" in said and "again" in said
    assert (place / "ann" / "me.png").exists() and not (place / "bob").exists()
    assert not results.is_complete(place)
    broken.clear()
    assert launch(*words) == [] and (place / "bob" / "me.png").exists()
    assert results.is_complete(place) and "not done" not in capsys.readouterr().out


def test_one_arm_and_no_other(tmp_path: Path) -> None:
    [arm] = arms.compose(["stages=protect", "attack=aspl/targeted", "purifier=ours"])
    assert arm.name == "protected-aspl/targeted"
    with pytest.raises(UserError, match="attack=none protects nothing; write such as attack=aspl"):
        arms.compose(["stages=protect"])
    planned = command.comparison(["stages=protect", "attack=aspl/targeted", "data=portraits"])
    assert isinstance(planned, own_photos.OwnPhotos)
    assert planned.folder(["experiment=x"]).name.startswith("protected-aspl-targeted-")
    [[cell]] = [list(of_arm.values()) for of_arm in planned.cells.values()]
    assert list(cell) == ["prior.surrogate", "protect"]


def test_photos_are_purified_under_their_names_at_their_size(
    folder: Path, tmp_path: Path, capsys: Any
) -> None:
    words = overrides(tmp_path, folder, "stages=purify", "purifier=[gaussian,jpeg]")
    assert run.launch(words) == []
    [place] = (tmp_path / "outputs").glob("purified-gaussian-jpeg-*")
    report = json.loads((place / "purified.json").read_text())
    assert report["made"] == "purified" and report["by"] == "gaussian+jpeg"
    assert report["radius"] is None and report["flags"] == {"ann": {}}
    for row in report["photos"]:
        with (
            Image.open(place / row["file"]) as written,
            Image.open(folder / row["original"]) as was,
        ):
            assert written.size == was.size == (row["width"], row["height"])
        assert row["max"] > 0
    said = capsys.readouterr().out
    assert "purified by gaussian+jpeg" in said and "center square" not in said
    assert run.launch(words) == []  # from the results


def test_the_report_says_how_far_impress_moved_each_photo(folder: Path, tmp_path: Path) -> None:
    words = overrides(tmp_path, folder, "stages=purify", "purifier=impress")
    assert run.launch([*words, "purifier.impress.steps=1"]) == []
    [place] = (tmp_path / "outputs").glob("purified-impress-*")
    photos = json.loads((place / "purified.json").read_text())["photos"]
    moved = [photo["noted"]["impress"]["distance"] for photo in photos]
    assert len(moved) > 1 and len(set(moved)) == len(moved) and min(moved) > 0


@pytest.mark.parametrize(
    ("purifier", "kind", "seen"),
    [
        ("jpeg", Jpeg, [(300, 520), (60, 40)]),
        ("vae", RoundTrip, [(128, 222), (60, 40)]),
        ("adverse_cleaner", AdverseCleaner, [(128, 222), (60, 40)]),
        ("noise", GaussianNoise, [(128, 222), (60, 40)]),
    ],
)
def test_what_is_larger_than_a_models_pictures_is_shrunk_and_enlarged_again(
    purifier: str, kind: Any, seen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for a purifier without a model: it takes the photo as it is, unless it asks for less."""
    shapes = []

    def purify(_: Any, x: Tensor, draws: Draws) -> Tensor:
        if not x.is_meta:  # what the time is told from
            shapes.append(x.shape[-2:])
        return x

    monkeypatch.setattr(kind, "__call__", purify)
    (tmp_path / "people").mkdir()
    as_picture(smooth(300, 520)).save(tmp_path / "people" / "me.png")
    as_picture(smooth(60, 40)).save(tmp_path / "people" / "small.png")
    words = overrides(tmp_path, tmp_path / "people", "stages=purify", f"purifier={purifier}")
    assert run.launch(words) == []
    assert [tuple(shape) for shape in shapes] == seen
    [place] = (tmp_path / "outputs").glob("purified-*")
    assert pixels(place / "people" / "me.png").shape == (300, 520, 3)


def test_a_photos_draws_do_not_depend_on_the_others(tmp_path: Path) -> None:
    made = []
    for names in (["b.png"], ["a.png", "b.png"]):
        root = tmp_path / str(len(names))
        (root / "people").mkdir(parents=True)
        for name in names:
            as_picture(smooth(40, 60)).save(root / "people" / name)
        words = overrides(root, root / "people", "stages=purify", "purifier=noise")
        assert run.launch(words) == []
        [place] = (root / "outputs").glob("purified-noise-*")
        made.append(pixels(place / "people" / "b.png"))
    assert (made[0] == made[1]).all()


def test_an_attack_before_the_purification(folder: Path, tmp_path: Path) -> None:
    words = overrides(tmp_path, folder, "stages=purify", "attack=random", "purifier=jpeg")
    [cell] = [cell for _, _, cell in command.comparison(words)]
    assert list(cell) == ["protect", "purify.jpeg"]
    [arm] = arms.compose(["stages=purify", "purifier=ours"])
    assert arm.name == "purified-ours"
    with pytest.raises(UserError, match="purifier=none does nothing; write such as purifier="):
        arms.compose(["stages=purify", "attack=aspl"])


def test_portraits_are_protected_too(tmp_path: Path) -> None:
    words = [word for word in overrides(tmp_path, "") if not word.startswith("data")]
    assert run.launch([*words, "data=portraits", "attack=random"]) == []
    report = json.loads((made(tmp_path) / "protected.json").read_text())
    assert len(report["photos"]) == 4 and report["flags"] == {"person_000": {}}


def test_the_folder_is_named_after_all_that_is_in_it(folder: Path, tmp_path: Path) -> None:
    def name(*more: str) -> str:
        return (
            command.comparison(overrides(tmp_path, folder, "attack=random", *more)).folder([]).name
        )

    first = name()
    assert name("attack.radius=4") != first == name("purifier=jpeg") == name("metric=[ims]")
    as_picture(smooth(9, 14, seed=7)).save(folder / "tiny.png")
    assert name() != first


def test_side_by_side(tmp_path: Path) -> None:
    before = Image.new("RGB", (60, 20), (100, 100, 250))
    after = Image.new("RGB", (60, 20), (111, 94, 255))
    assert side_by_side.difference(before, after).getpixel((5, 5)) == (128 + 88, 128 - 48, 168)
    before.save(tmp_path / "a.png")
    (tmp_path / "ann").mkdir()
    after.save(tmp_path / "ann" / "a.png")
    pair = (tmp_path / "a.png", tmp_path / "ann" / "a.png")
    one, many = side_by_side.draw([pair], "protected"), side_by_side.draw([pair] * 20, "protected")
    tile, left = side_by_side.TILE, side_by_side._left
    middle = 2 * side_by_side.LABEL + tile // 6  # the tile is a third as high as wide
    colors = [one.getpixel((left(column) + tile // 2, middle)) for column in range(3)]
    assert colors == [(100, 100, 250), (111, 94, 255), (216, 80, 168)]
    assert one.getpixel((left(0) + tile // 2, middle + tile // 6 + 3)) == (255, 255, 255)
    rows = (many.height - 2 * side_by_side.LABEL) / (one.height - 2 * side_by_side.LABEL)
    assert rows == side_by_side.MOST and many.width == one.width
    Image.new("RGB", (3000, 1)).save(tmp_path / "a.png")
    Image.new("RGB", (3000, 1)).save(tmp_path / "ann" / "a.png")
    side_by_side.draw([pair], "protected")


def test_pictures_of_other_sizes_cannot_be_compared(tmp_path: Path) -> None:
    as_picture(smooth(9, 9)).save(tmp_path / "a.png")
    as_picture(smooth(9, 8)).save(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"b\.png: \(8, 9\) pixels, but a\.png has \(9, 9\)"):
        photos.measure(tmp_path / "a.png", tmp_path / "b.png")
    assert photos.measure(tmp_path / "a.png", tmp_path / "a.png")["psnr"] is None
