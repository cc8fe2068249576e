"""Every stage of a cell on tiny random models: files, facts, refusals."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest
import torch

from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.scene import Scene
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError
from diffshortcut.models import ldm
from diffshortcut.pictures import images
from diffshortcut.seeding import Draws
from diffshortcut.stages import generate, personalize, prior, protect, purify, score
from diffshortcut.stages.inputs import Inputs

SIZE = 32
PROMPTS = ["a photo of sks person", "a smiling photo of sks person"]


@pytest.fixture
def model(tiny_ldm_folder: Path) -> dict:
    return {"_target_": "diffshortcut.models.ldm.load", "weights": f"file:{tiny_ldm_folder}"}


@pytest.fixture
def person(tmp_path: Path) -> Person:
    draws = Draws(0, "pictures", "anna")
    sets = {}
    for name in ("set_A", "set_B", "set_C"):
        pictures = draws.uniform(name, (3, 40, 48), 2)
        names = [f"{name[-1]}{i}.png" for i in range(2)]
        sets[name] = tuple(images.write_folder(tmp_path / name, pictures, names))
    return Person("anna", **sets)


@pytest.fixture
def run(person: Person, tmp_path: Path) -> Callable:
    def run(stage, config: dict, **artifacts: Path) -> Path:  # noqa: ANN001
        name = stage.__name__.rpartition(".")[2]
        out = tmp_path / f"{name}-out"
        out.mkdir()
        facts = stage.run(
            config=config,
            inputs=Inputs(person=person, artifacts=artifacts),
            out=out,
            draws=Draws(0, name, person.name),
        )
        json.dumps(facts, allow_nan=False)
        return out

    return run


@pytest.fixture
def class_images(run: Callable, model: dict) -> Path:
    config = {"model": model, "prompt": "a photo of person", "images": 3, "steps": 1}
    return run(prior, {**config, "guidance": 6.5})


def random_attack(radius: float) -> dict:
    return {
        "attack": {"_target_": "diffshortcut.attacks.random_noise.RandomNoise", "radius": radius},
        "resolution": SIZE,
    }


def trainer(model: dict) -> dict:
    return {
        "trainer": {
            "_target_": "diffshortcut.trainers.dreambooth.DreamBooth",
            "model": model,
            "instance_prompt": PROMPTS[0],
            "class_prompt": "a photo of person",
            "steps": 26,
            "learning_rate": 1e-3,
        }
    }


def sampler(model: dict) -> dict:
    return {
        "sampler": {
            "_target_": "diffshortcut.samplers.classifier_free.ClassifierFree",
            "model": model,
            "prompts": PROMPTS,
            "images": 2,
            "steps": 2,
            "guidance": 7.5,
            "suffix": " without",
        }
    }


def test_a_cell(
    run: Callable,
    model: dict,
    class_images: Path,
    person: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    protected = run(protect, random_attack(11))
    gaussian = {"_target_": "diffshortcut.purifiers.gaussian.Gaussian", "kernel": 5, "sigma": 1.1}
    purified = run(purify, {"link": gaussian}, images=protected)
    trained = run(personalize, trainer(model), images=purified, prior=class_images)
    generated = run(generate, sampler(model), model=trained)

    assert len(images.files(class_images / "images")) == 3
    for folder in (protected, purified):
        assert [p.name for p in images.files(folder / "images")] == ["B0.png", "B1.png"]
    assert [json.loads(x)["step"] for x in (trained / "log.jsonl").read_text().splitlines()] == [
        *(0, 25)
    ]
    texts = json.loads((generated / "prompts.json").read_text())
    assert texts["prompts"] == PROMPTS and texts["conditions"][0] == f"{PROMPTS[0]} without"

    def metric(evidence):  # noqa: ANN001, ANN202
        assert list(evidence.generated) == PROMPTS
        assert evidence.references.shape == evidence.clean.shape == (2, 3, SIZE, SIZE)
        assert ((evidence.protected - evidence.clean).abs() * 255).max() < 11.1
        return [{"metric": "mean", "value": float(evidence.generated[PROMPTS[1]].mean())}]

    monkeypatch.setattr(score, "build", lambda *_: metric)
    artifacts = {"generated": generated, "model": trained, "purified": purified}
    scored = run(score, {"metric": {}}, protected=protected, **artifacts)
    expected = images.read_files([generated / "images" / f"1-0{i}.png" for i in range(2)])
    row = json.loads((scored / "rows.jsonl").read_text())
    assert row == {"metric": "mean", "value": pytest.approx(float(expected.mean()))}


def test_the_base_model_is_not_changed(run: Callable, model: dict, class_images: Path) -> None:
    base = ldm.load(weights=model["weights"])
    before = [p.clone() for p in base.trainable_parameters()]
    protected = run(protect, random_attack(0))
    trained = run(personalize, trainer(model), images=protected, prior=class_images)
    pairs = zip(before, base.trainable_parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    after = base.with_weights(trained).trainable_parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_an_attacks_surrogate_knows_none_of_the_victims_draws(
    run: Callable, model: dict, class_images: Path, person: Person, tmp_path: Path
) -> None:
    """On equal pictures it becomes another model: order, timesteps and noises are its own."""
    photos = images.quantize(images.read_files(person.set_A, SIZE))
    images.write_folder(tmp_path / "artifact" / "images", photos, ["B0.png", "B1.png"])
    victim = run(personalize, trainer(model), images=tmp_path / "artifact", prior=class_images)
    learned = ldm.load(weights=model["weights"]).with_weights(victim).trainable_parameters()
    victim.rename(tmp_path / "victim")
    surrogate = run(personalize, {**trainer(model), "resolution": SIZE}, prior=class_images)
    others = ldm.load(weights=model["weights"]).with_weights(surrogate).trainable_parameters()
    assert not all(map(torch.equal, learned, others))


def test_no_radius_gives_the_clean_images_back(run: Callable, person: Person) -> None:
    protected = run(protect, random_attack(0))
    clean = images.quantize(images.read_files(person.set_B, SIZE))
    assert torch.equal(images.read_folder(protected / "images"), clean)
    facts = json.loads((protected / "facts.json").read_text())
    assert facts["max"] == 0 and facts["psnr"] is None


class Foreign:
    """An attack of somebody else's, with an objective, that gives what it is told to."""

    def __init__(self, made: Callable) -> None:
        self.made = made

    def __call__(self, scene: Scene, draws: Draws) -> object:
        return self.made(scene.images)

    def objective(self, scene: Scene, draws: Draws) -> None:
        raise AssertionError("nobody asks an attack without a radius")


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (lambda x: None, "NoneType"),
        (lambda x: list(x), "list"),
        (lambda x: x[:1], "(1, 3, 32, 32)"),
        (lambda x: x[:, :1], "(2, 1, 32, 32)"),
        (lambda x: x[..., :-2], "(2, 3, 32, 30)"),
    ],
)
def test_an_attack_that_gives_no_images_of_the_same_size_is_the_users_error(
    run: Callable, monkeypatch: pytest.MonkeyPatch, made: Callable, found: str
) -> None:
    monkeypatch.setattr(protect, "build", lambda node, where: Foreign(made))
    with pytest.raises(UserError, match=re.escape(f"the attack gave {found}, not images (2, 3")):
        run(protect, random_attack(11))


def test_an_attack_without_a_radius_may_have_an_objective(
    run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protect, "build", lambda node, where: Foreign(lambda x: 1 - x))
    facts = json.loads((run(protect, random_attack(11)) / "facts.json").read_text())
    assert facts["radius"] is None and "objective" not in facts


def test_the_perturbation_is_measured_on_disk(run: Callable) -> None:
    facts = json.loads((run(protect, random_attack(11)) / "facts.json").read_text())
    assert facts["max"] == 11 and 10 < facts["mean"] < 11 and facts["at_bound"] > 0.85
    assert facts["psnr"] == pytest.approx(27.4, abs=0.4)


def test_the_surrogates_loss_is_measured(
    run: Callable, model: dict, class_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protect, "HELD_OUT", 4)
    attack = {
        "_target_": "diffshortcut.attacks.aspl.ASPL",
        "surrogate": model,
        "instance_prompt": PROMPTS[0],
        "class_prompt": "a photo of person",
        "radius": 8,
        "step": 4,
        "rounds": 1,
        "clean_steps": 1,
        "pgd_steps": 2,
        "adversarial_steps": 1,
        "learning_rate": 1e-4,
    }
    out = run(protect, {"attack": attack, "resolution": SIZE}, prior=class_images)
    facts = json.loads((out / "facts.json").read_text())
    base = ldm.load(weights=model["weights"])
    protected = images.read_folder(out / "images")
    draws = Draws(0, "protect", "anna")
    expected = protect.held_out(denoising_loss(base, PROMPTS[0], draws), protected, 4)
    assert facts["objective"].keys() == {"clean", "protected", "random"}
    assert facts["objective"]["protected"] == pytest.approx(fmean(expected))
    assert [of["protected"] for of in facts["objective_of"].values()] == pytest.approx(expected)
    assert facts["objective"]["protected"] != facts["objective"]["clean"]


def test_a_broken_bound_is_refused() -> None:
    clean = torch.full((2, 3, 4, 4), 0.5)
    moved = clean.clone()
    moved[1, 0, 0, 0] += 12 / 255
    with pytest.raises(UserError, match=r"b\.png: changed by 12 levels, radius 11"):
        protect.perturbation(list(moved), list(clean), ["a.png", "b.png"], 11)


def test_the_held_out_loss_takes_no_draw_of_an_attack_and_the_same_in_parts() -> None:
    asked: list[tuple[range, int]] = []

    def loss(x: torch.Tensor, part: range, step: int) -> torch.Tensor:
        asked.append((part, step))
        return x.flatten(1).sum(1)

    x = Draws(0, "x", "").uniform("x", (3, 4, 4), 5)
    whole = protect.held_out(loss, x, 2)
    assert protect.held_out(loss, x, 2, micro_batch=2) == pytest.approx(whole)
    assert [len(part) for part, _ in asked] == [5] * 2 + [2, 2, 1] * 2
    assert min(step for _, step in asked) >= protect.UNSEEN


def test_the_held_out_loss_is_pinned_by_its_draws(model: dict) -> None:
    base = ldm.load(weights=model["weights"])
    x = Draws(0, "x", "").uniform("x", (3, SIZE, SIZE), 2)
    draws = Draws(0, "protect", "anna")
    torch.manual_seed(1)
    loss = denoising_loss(base, PROMPTS[0], draws)
    first = protect.held_out(loss, x, 4)
    torch.manual_seed(2)
    assert protect.held_out(loss, x, 4) == first
    assert first[:1] == pytest.approx(protect.held_out(loss, x[:1], 4)) and min(first) > 0
    assert first != protect.held_out(loss, x, 3)
