"""MetaCloak: its pool of snapshots, its transforms, its published bug."""

import pytest
import tiny_zoo
import torch
from torch import Tensor

from diffshortcut.attacks.eot import EoT
from diffshortcut.attacks.metacloak import MetaCloak
from diffshortcut.attacks.scene import Scene
from diffshortcut.dreambooth import Posterior, Training
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.pictures.transforms import Blur, Flip
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="protect", person="nobody")


@pytest.fixture
def scene() -> Scene:
    return tiny_zoo.scene(2)


def attack(model: LatentDiffusion, **changes: object) -> MetaCloak:
    settings = {
        "instance_prompt": "a photo of sks person",
        "class_prompt": "a photo of person",
        "radius": 11,
        "surrogate_steps": 4,
        "snapshots": 3,
        "trails": 2,
        "rounds": 2,
        "pgd_steps": 2,
        "advance_steps": 1,
        "learning_rate": 1e-3,
        "normalize_surrogate": True,
        "eot": EoT(
            transforms=[Blur(kernel=7, sigma_min=0.1, sigma_max=2.0), Flip(probability=0.5)]
        ),
    }
    return MetaCloak(surrogate=model, **(settings | changes))


def watch(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, Tensor]]:
    """Records (steps before, steps, instance means) of every call of Training.train."""
    calls, train = [], Training.train

    def spied(self: Training, instances: Posterior, steps: int, *rest: object) -> None:
        calls.append((self.step, steps, instances.mean.clone()))
        train(self, instances, steps, *rest)

    monkeypatch.setattr(Training, "train", spied)
    return calls


def test_the_pool_is_evenly_spaced_then_every_trail_advances_each_snapshot(
    model: LatentDiffusion, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = watch(monkeypatch)
    attack(model, pgd_steps=1)(scene, DRAWS)
    assert [(before, steps) for before, steps, _ in calls[:3]] == [(0, 0), (0, 2), (2, 2)]
    assert [steps for _, steps, _ in calls[3:]] == [1] * (2 * 3 * 2)
    clean = Posterior.of(model, scene.images).mean
    assert all(torch.equal(mean, clean) for *_, mean in calls[:3])
    assert not any(torch.equal(mean, clean) for *_, mean in calls[3:])


def test_snapshots_hold_the_states_of_training(model: LatentDiffusion, scene: Scene) -> None:
    metacloak = attack(model)
    surrogate = metacloak.training(model, Posterior.of(model, scene.class_prior()), DRAWS)
    first, middle, last = metacloak._pool(surrogate, scene)
    parameters = model.trainable_parameters()
    assert all(map(torch.equal, first, parameters))
    assert all(map(torch.equal, last, surrogate.model.trainable_parameters()))
    assert not all(map(torch.equal, middle, first)) and not all(map(torch.equal, middle, last))


def test_a_step_is_a_tenth_of_the_radius(model: LatentDiffusion, scene: Scene) -> None:
    one_step = attack(model, snapshots=1, trails=1, rounds=1, pgd_steps=1, radius=20)
    moved = (one_step(scene, DRAWS) - scene.images).abs() * 255
    inside = (scene.images > 0.1) & (scene.images < 0.9)
    torch.testing.assert_close(
        moved[inside], torch.full_like(moved[inside], 2.0), atol=0.01, rtol=0
    )


def test_the_released_surrogate_sees_pixels_up_to_255(
    model: LatentDiffusion, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, posterior = [], LatentDiffusion.posterior

    def spied(self: LatentDiffusion, images: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(images * 2 - 1)
        return posterior(self, images)

    calls = watch(monkeypatch)
    monkeypatch.setattr(LatentDiffusion, "posterior", spied)
    attack(model, normalize_surrogate=False, rounds=1, pgd_steps=1)(scene, DRAWS)
    torch.testing.assert_close(seen[1], scene.images * 255)
    assert len(calls) == 3 + 3 * 2
