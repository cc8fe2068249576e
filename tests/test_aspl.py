"""ASPL step by step, and what its surrogate does."""

import pytest
import tiny_zoo
import torch
from torch import Tensor

from diffshortcut.attacks.aspl import ASPL
from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.pgd import ascend, gradient_of
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.surrogate import restore, weights_of
from diffshortcut.dreambooth import Posterior, Settings, Training
from diffshortcut.errors import UserError
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="protect", person="nobody")
PROMPTS = {"instance_prompt": "a photo of sks person", "class_prompt": "a photo of person"}


@pytest.fixture
def scene() -> Scene:
    return tiny_zoo.scene(4)


def attack(model: LatentDiffusion, **changes: object) -> ASPL:
    settings = {"rounds": 2, "clean_steps": 3, "pgd_steps": 6, "adversarial_steps": 2}
    settings |= {"radius": 11, "step": 1, "learning_rate": 1e-3, **PROMPTS}
    return ASPL(surrogate=model, **(settings | changes))


def training(model: LatentDiffusion, learning_rate: float) -> Training:
    settings = Settings(learning_rate=learning_rate, **PROMPTS)
    return Training(model, settings, Posterior.of(model, torch.rand(3, 3, 32, 32)), DRAWS)


def same(a: Training, weights: list[Tensor]) -> bool:
    return all(torch.equal(p, w) for p, w in zip(weights_of(a), weights, strict=True))


def test_a_round_is_clone_learn_ascend_learn(
    model: LatentDiffusion, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple] = []

    def spy(name: str) -> None:
        function = getattr(ASPL, name)

        def spied(self: ASPL, *args: object, **kwargs: object) -> object:
            steps.append((name, args, kwargs))
            return function(self, *args, **kwargs)

        monkeypatch.setattr(ASPL, name, spied)

    for name in ("learn_clean", "fine_tune", "ascend", "learn_perturbed"):
        spy(name)
    protected = attack(model)(scene, DRAWS)
    names = [name for name, *_ in steps]
    one_round = ["learn_clean", "fine_tune", "ascend", "learn_perturbed", "fine_tune"]
    assert names == one_round * 2
    (_, (pair,), _), on_clean, climb, (_, (_, x, _), _), on_perturbed = steps[5:]
    assert on_clean[1][0] is pair.clone and on_clean[1][2] == 3
    assert on_perturbed[1][0] is pair.surrogate and on_perturbed[1][2] == 2
    assert climb[1][1] is scene and climb[2] == {"steps": 6, "first_step": 6}
    assert torch.equal(x, protected) and pair.clone is not pair.surrogate
    clean, perturbed = Posterior.of(model, scene.clean), Posterior.of(model, protected)
    assert torch.equal(on_clean[1][1].mean, clean.mean)
    assert torch.equal(on_perturbed[1][1].mean, perturbed.mean)


def test_a_clone_starts_as_its_surrogate(model: LatentDiffusion, scene: Scene) -> None:
    aspl = attack(model, clean_steps=0)
    pair = aspl.pair(model, scene.class_prior(), scene, DRAWS)
    aspl.learn_perturbed(pair, scene.images, scene)
    assert not same(pair.clone, weights_of(pair.surrogate))
    aspl.learn_clean(pair)
    assert same(pair.clone, weights_of(pair.surrogate))


def test_the_ascent_raises_the_loss_at_its_own_draws(model: LatentDiffusion, scene: Scene) -> None:
    moving = denoising_loss(model, PROMPTS["instance_prompt"], DRAWS)

    def fixed(x: Tensor, images: range, step: int) -> Tensor:
        return torch.stack([moving(x, images, i) for i in range(4)]).mean(0)

    options = {"radius": 11, "step": 1, "steps": 8}
    up = ascend(scene.images, scene.images, gradient_of(fixed), **options)
    down = ascend(scene.images, scene.images, gradient_of(lambda *a: -fixed(*a)), **options)
    with torch.no_grad():
        rows = [fixed(x, range(4), 0) for x in (down, scene.images, up)]
    assert (rows[0] < rows[1]).all() and (rows[1] < rows[2]).all()


def test_the_loss_is_that_of_each_image_alone(model: LatentDiffusion, scene: Scene) -> None:
    loss = denoising_loss(model, PROMPTS["instance_prompt"], DRAWS)
    together = loss(scene.images, range(4), 7)
    alone = torch.cat([loss(scene.images[i : i + 1], range(i, i + 1), 7) for i in range(4)])
    torch.testing.assert_close(together, alone)
    assert len(set(together.tolist())) == 4


def test_the_gradient_agrees_with_finite_differences(model: LatentDiffusion, scene: Scene) -> None:
    loss = denoising_loss(model, PROMPTS["instance_prompt"], DRAWS)
    _, gradient = gradient_of(loss)(scene.images, range(4), 0)
    direction, h = gradient / gradient.norm(), 0.05
    with torch.no_grad():
        rise = [loss(scene.images + s * h * direction, range(4), 0).sum() for s in (1, -1)]
    torch.testing.assert_close((rise[0] - rise[1]) / (2 * h), gradient.norm(), rtol=0.05, atol=0)


def test_restoring_is_in_place_and_exact(model: LatentDiffusion, scene: Scene) -> None:
    surrogate = training(model, 1e-3)
    start, addresses = weights_of(surrogate), [p.data_ptr() for p in weights_in(surrogate)]
    surrogate.train(Posterior.of(model, scene.images), 2)
    assert not same(surrogate, start)
    restore(surrogate, start)
    assert same(surrogate, start)
    assert [p.data_ptr() for p in weights_in(surrogate)] == addresses


def weights_in(surrogate: Training) -> list[Tensor]:
    return list(surrogate.model.trainable_parameters())


def test_a_step_at_the_papers_learning_rate_moves_the_surrogate(
    model: LatentDiffusion, scene: Scene
) -> None:
    """The released attacks train in pure bf16, where 5e-7 moves less than 1 % of the weights."""
    surrogate = training(model, 5e-7)
    matrices = [p for p in surrogate.model.unet.parameters() if p.ndim > 1]
    with torch.no_grad():
        for i, p in enumerate(matrices):
            p.normal_(0, 0.02, generator=torch.Generator().manual_seed(i))
    start = [p.detach().clone() for p in matrices]
    surrogate.train(Posterior.of(model, scene.images), 3)
    moments = [surrogate.optimizer.state[p]["exp_avg"] for p in matrices]
    reached = [moment.abs() > 1e-8 for moment in moments]  # taps over padding have no gradient
    moved = [(p != s)[r] for p, s, r in zip(matrices, start, reached, strict=True)]
    assert torch.cat(moved).float().mean() > 0.99


def test_the_given_model_is_not_trained(model: LatentDiffusion, scene: Scene) -> None:
    before = [p.clone() for p in model.trainable_parameters()]
    attack(model)(scene, DRAWS)
    assert all(map(torch.equal, before, model.trainable_parameters()))
    assert not any(p.requires_grad for p in model.trainable_parameters())


def test_without_class_prior_it_says_what_to_give(model: LatentDiffusion, scene: Scene) -> None:
    bare = Scene(images=scene.images, clean=scene.clean, prior=None, names=scene.names)
    with pytest.raises(UserError, match="attack.prior"):
        attack(model)(bare, DRAWS)


@pytest.mark.parametrize("wrong", [{"radius": -1}, {"step": -0.5}])
def test_a_negative_budget_is_refused(model: LatentDiffusion, wrong: dict) -> None:
    with pytest.raises(ValueError, match="negative"):
        attack(model, **wrong)
