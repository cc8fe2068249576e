"""The contract of every attack in conf/attack, found by itself, on tiny random models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_zoo
import torch
from course import Course, rounding
from tiny_zoo import TinyZoo
from torch import Tensor

from diffshortcut.artifacts.checkpoint import Checkpoint
from diffshortcut.attacks.random_noise import RandomNoise
from diffshortcut.attacks.record import Record
from diffshortcut.attacks.scene import Scene
from diffshortcut.config import catalog, config
from diffshortcut.errors import UserError
from diffshortcut.models import ldm
from diffshortcut.pictures.images import quantize
from diffshortcut.seeding import Draws

ATTACKS = catalog.groups()["attack"]
CLIMBING = [name for name in ATTACKS if name not in ("none", "random")]
WITH_RADIUS = [name for name in ATTACKS if name != "none"]
DRAWS = Draws(seed=0, stage="protect", person="nobody")
SCENE = Scene(
    images=tiny_zoo.pictures(3, seed=1),
    clean=tiny_zoo.pictures(2, seed=2),
    prior=tiny_zoo.pictures(2, seed=3),
    names=("a.png", "b.png", "c.png"),
)


@pytest.fixture(scope="session")
def zoo(
    tiny_ldm_folder: Path, tiny_upscaler_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> TinyZoo:
    return {
        "diffshortcut.models.upscaler.load": tiny_upscaler_folder,
        "diffshortcut.models.restorer.load": tiny_zoo.restorer(tmp_path_factory.mktemp("restorer")),
        "diffshortcut.models.faces.load_detector": tiny_zoo.detector(
            tmp_path_factory.mktemp("detector")
        ),
        "diffshortcut.models.ldm.load": tiny_ldm_folder,
        "diffshortcut.models.perceptual.load": tiny_zoo.recognizer_b(
            tmp_path_factory.mktemp("recognizer_b")
        ),
    }


def node(name: str, zoo: TinyZoo, *overrides: str) -> dict[str, Any]:
    """An attack's node; the adaptive ones go through the whole purification."""
    defense = "codeformer_sr" if name.startswith("adaptive") else "none"
    found = tiny_zoo.node("attack", [f"attack={name}", f"purifier={defense}", *overrides], zoo)
    fewer = {"steps": 4, "pgd_steps": 3, "rounds": 2, "lora_steps": 2}
    return {key: min(value, fewer[key]) if key in fewer else value for key, value in found.items()}


def scene(node: dict[str, Any], **changes: Any) -> Scene:
    """SCENE with a record of its own and the personalized model of a tiny folder."""
    weights = Path(node.get("surrogate", {}).get("weights", "").removeprefix("file:"))
    return replace(SCENE, **{"record": Course(), "personalized": weights, **changes})


def run(node: dict[str, Any], draws: Draws = DRAWS, **changes: Any) -> tuple[Tensor, Course]:
    """The protected images and the course of an attack."""
    where = scene(node, **changes)
    return config.build(node, "attack")(where, draws), where.record


def protect(node: dict[str, Any], draws: Draws = DRAWS) -> Tensor:
    return run(node, draws)[0]


RUNS: dict[tuple[str, int], tuple[Tensor, Course]] = {}


def usual(name: str, zoo: TinyZoo, seed: int = 0) -> tuple[Tensor, Course]:
    """An attack with nothing changed, run once for all tests."""
    if (name, seed) not in RUNS:
        RUNS[name, seed] = run(node(name, zoo), Draws(seed, "protect", "nobody"))
    return RUNS[name, seed]


def levels(images: Tensor) -> Tensor:
    return (quantize(images) - SCENE.images) * 255


@pytest.mark.parametrize("name", ATTACKS)
def test_ball_range_and_shape_and_nothing_else_changed(
    name: str, zoo: TinyZoo, tiny_ldm_folder: Path
) -> None:
    model = ldm.load(weights=f"file:{tiny_ldm_folder}")
    weights = [*model.trainable_parameters(), *model.vae.parameters()]
    before = [x.clone() for x in (SCENE.images, SCENE.clean, SCENE.prior, *weights)]
    protected, _ = usual(name, zoo)
    assert protected.shape == SCENE.images.shape and protected.dtype == torch.float32
    assert protected.min() >= 0 and protected.max() <= 1 and not protected.requires_grad
    largest = levels(protected).abs().flatten(1).max(dim=1).values
    assert (largest <= node(name, zoo).get("radius", 0) + 1e-3).all()
    assert (largest > 0).all() or name == "none"
    assert all(map(torch.equal, before, (SCENE.images, SCENE.clean, SCENE.prior, *weights)))
    assert not any(p.requires_grad or p.grad is not None for p in weights)


@pytest.mark.parametrize("name", ATTACKS)
def test_equal_draws_give_equal_bytes_and_others_do_not(name: str, zoo: TinyZoo) -> None:
    first, _ = usual(name, zoo)
    torch.manual_seed(2)
    assert torch.equal(protect(node(name, zoo)), first)
    assert name == "none" or not torch.equal(usual(name, zoo, seed=1)[0], first)


@pytest.mark.parametrize("name", [name for name in ATTACKS if "/" not in name])
def test_those_that_learn_set_a_say_so(name: str, zoo: TinyZoo) -> None:
    """Others make the same of set_B whatever set_A is; FSMG's set_A is in a stage before it."""
    attack, (_, course) = node(name, zoo), usual(name, zoo)
    _, found = run(attack, clean=SCENE.clean.flip(-1))
    pairs = zip(course.directions, found.directions, strict=True)
    learns = not all(torch.equal(*pair) for pair in pairs)
    before = "personalized" in config.resolve(config.compose([f"attack={name}"]))["attack"]
    says = getattr(config.build(attack, "attack"), "learns_set_A", False)
    assert says == (learns or before)


@pytest.mark.parametrize("name", WITH_RADIUS)
def test_radius_0_gives_the_clean_images(name: str, zoo: TinyZoo) -> None:
    assert torch.equal(protect({**node(name, zoo), "radius": 0}), SCENE.images)


@pytest.mark.parametrize("name", WITH_RADIUS)
def test_a_negative_radius_is_the_users_error(name: str, zoo: TinyZoo) -> None:
    attack = {**node(name, zoo), "radius": -1}
    with pytest.raises(UserError, match="negative"):
        config.build(attack, "attack")
    with pytest.raises(UserError, match="negative"):
        config.check_values(attack, "attack")


@pytest.mark.parametrize("name", WITH_RADIUS)
def test_a_radius_of_0_to_1_is_told_its_levels(name: str, zoo: TinyZoo) -> None:
    """11/255 as others write it; it would move no 8-bit level."""
    with pytest.raises(UserError, match=r"moves none: did you mean 11\.22"):
        config.check_values({**node(name, zoo), "radius": 0.044}, "attack")


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("aspl", "rounds=0", "rounds and pgd_steps must be at least 1"),
        ("aspl", "pgd_steps=0", "rounds and pgd_steps must be at least 1"),
        ("aspl", "clean_steps=-1", "clean_steps and adversarial_steps must be at least 0"),
        ("aspl", "adversarial_steps=-1", "clean_steps and adversarial_steps must be at least 0"),
        ("aspl", "learning_rate=-1", "learning_rate must be above 0"),
        ("metacloak", "rounds=-5", "snapshots, trails, rounds and pgd_steps must be at least 1"),
        ("metacloak", "snapshots=0", "snapshots, trails, rounds and pgd_steps must be at least 1"),
        ("metacloak", "trails=0", "snapshots, trails, rounds and pgd_steps must be at least 1"),
        ("metacloak", "pgd_steps=0", "snapshots, trails, rounds and pgd_steps must be at least 1"),
        ("metacloak", "surrogate_steps=-1", "surrogate_steps and advance_steps must be at least 0"),
        ("metacloak", "advance_steps=-1", "surrogate_steps and advance_steps must be at least 0"),
        ("metacloak", "learning_rate=0", "learning_rate must be above 0"),
    ],
)
def test_a_schedule_that_does_nothing_is_the_users_error(
    name: str, override: str, message: str, zoo: TinyZoo
) -> None:
    with pytest.raises(UserError, match=f"attack: {message}"):
        config.check_values(node(name, zoo, f"attack.{override}"), "attack")


@pytest.mark.parametrize(
    "override", ["aspl attack.clean_steps=0", "metacloak attack.surrogate_steps=0"]
)
def test_a_schedule_may_leave_its_surrogate_as_it_is(override: str, zoo: TinyZoo) -> None:
    name, value = override.split()
    config.check_values(node(name, zoo, value), "attack")


@pytest.mark.parametrize("name", CLIMBING)
def test_the_micro_batch_changes_neither_draws_nor_gradient(name: str, zoo: TinyZoo) -> None:
    attack, (_, whole), (_, other) = node(name, zoo), usual(name, zoo), usual(name, zoo, seed=1)
    largest, tolerance = whole.directions[0].abs().max(), rounding(name, attack)
    _, parts = run({**attack, "micro_batch": 2})
    assert (parts.directions[0] - whole.directions[0]).abs().max() <= tolerance * largest
    torch.testing.assert_close(parts.values[0], whole.values[0], rtol=tolerance, atol=1e-6)
    assert len(parts.directions) == len(whole.directions)
    assert (other.directions[0] - whole.directions[0]).abs().max() > 0.01 * largest


class Stops(Record):
    """A record that breaks off at its `calls`-th step."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def __call__(self, values: Tensor, direction: Tensor) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        super().__call__(values, direction)


@pytest.mark.parametrize("name", CLIMBING)
def test_a_stopped_attack_goes_on_to_the_same_bytes(
    name: str, zoo: TinyZoo, tmp_path: Path
) -> None:
    attack, checkpoint = node(name, zoo), Checkpoint(tmp_path, minutes=0)
    protected, unbroken = usual(name, zoo)
    with pytest.raises(KeyboardInterrupt):
        run(attack, record=Stops(unbroken.steps - 1), checkpoint=checkpoint)
    assert list(tmp_path.iterdir()) or unbroken.steps <= attack.get("pgd_steps", 1)
    resumed, course = run(attack, checkpoint=checkpoint)
    assert torch.equal(resumed, protected)
    assert course.steps == unbroken.steps
    after = unbroken.values[-len(course.values) :]
    assert torch.equal(torch.stack(course.values), torch.stack(after))


def test_random_noise_is_a_fair_coin_per_sub_pixel() -> None:
    grey = replace(SCENE, images=torch.full((4, 3, 32, 32), 128 / 255))
    delta = (RandomNoise(radius=11)(grey, DRAWS) - grey.images) * 255
    torch.testing.assert_close(delta.abs(), torch.full_like(delta, 11.0), atol=1e-3, rtol=0)
    assert abs(float((delta > 0).float().mean()) - 0.5) < 0.02
    channels = delta.sign().transpose(0, 1).flatten(1)
    assert torch.corrcoef(channels).triu(1).abs().max() < 0.06


def test_no_attack_gives_the_very_images(zoo: TinyZoo) -> None:
    assert protect(node("none", zoo)) is SCENE.images
