"""The contract of every attack in conf/attack, found by itself, on tiny random models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_zoo
import torch
from tiny_zoo import TinyZoo
from torch import Tensor

from diffshortcut import config
from diffshortcut.attacks.random_noise import RandomNoise
from diffshortcut.attacks.record import Record
from diffshortcut.attacks.scene import Scene
from diffshortcut.checkpoint import Checkpoint
from diffshortcut.errors import UserError
from diffshortcut.images import quantize
from diffshortcut.models import ldm
from diffshortcut.seeding import Draws

ATTACKS = config.groups()["attack"]
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
    return {**found, "steps": min(found["steps"], 4)} if "steps" in found else found


def scene(node: dict[str, Any]) -> Scene:
    """SCENE with a record of its own and the personalized model of a tiny folder."""
    weights = node.get("surrogate", {}).get("weights", "")
    return replace(SCENE, record=Record(), personalized=Path(weights.removeprefix("file:")))


def protect(node: dict[str, Any], draws: Draws = DRAWS) -> Tensor:
    return config.build(node, "attack")(scene(node), draws)


def levels(images: Tensor) -> Tensor:
    return (quantize(images) - SCENE.images) * 255


@pytest.mark.parametrize("name", ATTACKS)
def test_ball_range_and_shape(name: str, zoo: TinyZoo) -> None:
    attack = node(name, zoo)
    originals = [x.clone() for x in (SCENE.images, SCENE.clean, SCENE.prior)]
    protected = protect(attack)
    assert protected.shape == SCENE.images.shape and protected.dtype == torch.float32
    assert protected.min() >= 0 and protected.max() <= 1 and not protected.requires_grad
    largest = levels(protected).abs().flatten(1).max(dim=1).values
    assert (largest <= attack.get("radius", 0) + 1e-3).all()
    assert (largest > 0).all() or name == "none"
    assert all(map(torch.equal, originals, (SCENE.images, SCENE.clean, SCENE.prior)))


@pytest.mark.parametrize("name", ATTACKS)
def test_equal_draws_give_equal_bytes_and_others_do_not(name: str, zoo: TinyZoo) -> None:
    attack = node(name, zoo)
    torch.manual_seed(1)
    first = protect(attack)
    torch.manual_seed(2)
    assert torch.equal(protect(attack), first)
    other = protect(attack, Draws(seed=1, stage="protect", person="nobody"))
    assert name == "none" or not torch.equal(other, first)


@pytest.mark.parametrize("name", WITH_RADIUS)
def test_radius_0_gives_the_clean_images(name: str, zoo: TinyZoo) -> None:
    assert torch.equal(protect(node(name, zoo, "attack.radius=0")), SCENE.images)


@pytest.mark.parametrize("name", WITH_RADIUS)
def test_a_negative_radius_is_the_users_error(name: str, zoo: TinyZoo) -> None:
    attack = node(name, zoo, "attack.radius=-1")
    with pytest.raises(UserError, match="negative"):
        config.build(attack, "attack")
    with pytest.raises(UserError, match="negative"):
        config.check_values(attack, "attack")


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


class Course(Record):
    """A record that keeps the gradients too."""

    def __init__(self) -> None:
        super().__init__()
        self.directions: list[Tensor] = []

    def __call__(self, values: Tensor, direction: Tensor) -> None:
        super().__call__(values, direction)
        self.directions.append(direction)


def course(node: dict[str, Any], draws: Draws = DRAWS) -> Course:
    where = replace(scene(node), record=Course())
    config.build(node, "attack")(where, draws)
    return where.record


@pytest.mark.parametrize("name", CLIMBING)
def test_the_micro_batch_changes_neither_draws_nor_gradient(name: str, zoo: TinyZoo) -> None:
    attack = node(name, zoo)
    whole = course(attack)
    other = course(attack, Draws(seed=1, stage="protect", person="nobody"))
    largest = whole.directions[0].abs().max()
    pure_bfloat16 = attack.get("weights_dtype") == "bfloat16"  # rounds at 4e-3, batch by batch
    tolerance = 1e-2 if pure_bfloat16 else 1e-5
    if name.startswith("adaptive"):  # the purifier's sampler comes before: rounding grows in it
        tolerance = 1e-4
    for size in (1, 2):
        parts = course({**attack, "micro_batch": size})
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
    longer = {"rounds": 2, "trails": 2} if "rounds" in node(name, zoo) else {}
    attack = {**node(name, zoo), **{k: v for k, v in longer.items() if k in node(name, zoo)}}
    unbroken = course(attack)
    protected = config.build(attack, "attack")(scene(attack), DRAWS)
    checkpoint = Checkpoint(tmp_path, minutes=0)
    for stop in (1, len(unbroken.values) - 1):
        broken = replace(scene(attack), record=Stops(stop), checkpoint=checkpoint)
        with pytest.raises(KeyboardInterrupt):
            config.build(attack, "attack")(broken, DRAWS)
    resumed = replace(scene(attack), checkpoint=checkpoint)
    assert torch.equal(config.build(attack, "attack")(resumed, DRAWS), protected)
    assert torch.equal(torch.stack(resumed.record.values), torch.stack(unbroken.values))


@pytest.mark.parametrize("name", ATTACKS)
def test_loaded_models_stay_as_they_are(name: str, zoo: TinyZoo, tiny_ldm_folder: Path) -> None:
    model = ldm.load(weights=f"file:{tiny_ldm_folder}")
    before = [p.clone() for p in [*model.trainable_parameters(), *model.vae.parameters()]]
    protect(node(name, zoo))
    after = [*model.trainable_parameters(), *model.vae.parameters()]
    assert all(map(torch.equal, before, after))
    assert not any(p.requires_grad or p.grad is not None for p in after)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("zoo_name", ["mini", "full"])
def test_the_config_fits_the_signature(name: str, zoo_name: str) -> None:
    overrides = [f"attack={name}", f"zoo={zoo_name}", "purifier=sr"]
    config.check(config.resolve(config.compose(overrides)))


def test_random_noise_is_a_fair_coin_per_sub_pixel() -> None:
    grey = replace(SCENE, images=torch.full((4, 3, 32, 32), 128 / 255))
    delta = (RandomNoise(radius=11)(grey, DRAWS) - grey.images) * 255
    torch.testing.assert_close(delta.abs(), torch.full_like(delta, 11.0), atol=1e-3, rtol=0)
    assert abs(float((delta > 0).float().mean()) - 0.5) < 0.02
    channels = delta.sign().transpose(0, 1).flatten(1)
    assert torch.corrcoef(channels).triu(1).abs().max() < 0.06


def test_no_attack_gives_the_very_images(zoo: TinyZoo) -> None:
    assert protect(node("none", zoo)) is SCENE.images
