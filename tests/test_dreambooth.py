"""Eq. 2: the loss, the step, the order of the images, and the bugs of published code."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from diffshortcut import dreambooth
from diffshortcut.dreambooth import Posterior, Settings, Training, descend, dreambooth_loss
from diffshortcut.errors import UserError
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws

DRAWS = Draws(0, "personalize", "nobody")
SETTINGS = Settings(
    instance_prompt="a photo of sks person", class_prompt="a photo of person", learning_rate=1e-3
)


def posterior(model: LatentDiffusion, count: int, name: str) -> Posterior:
    return Posterior.of(model, DRAWS.uniform(name, (3, 32, 32), count))


@pytest.fixture
def training(model: LatentDiffusion) -> Training:
    return Training(model, SETTINGS, posterior(model, 5, "prior"), DRAWS)


def vector(model: LatentDiffusion) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.trainable_parameters()])


class Spy(Posterior):
    """Cached posteriors that remember what was asked of them."""

    def at(self, indices, step):  # noqa: ANN001, ANN201
        self.__dict__.setdefault("seen", []).extend(indices)
        return super().at(indices, step)


def test_the_loss_is_eq_2(model: LatentDiffusion) -> None:
    """Mean over the person's images plus the weighted mean over those of the class."""
    settings = Settings(
        instance_prompt="a", class_prompt="b", learning_rate=1, prior_weight=0.5, instance_batch=3
    )
    z, noise = (DRAWS.normal(name, model.latent_shape, 4) for name in ("z", "noise"))
    t = torch.tensor([1, 200, 500, 900])
    a, b = (model.encode_prompt([prompt]) for prompt in "ab")
    instance = model.denoising_loss(z[:3], a, t[:3], noise[:3]).mean()
    prior = model.denoising_loss(z[3:], b, t[3:], noise[3:]).mean()
    loss = dreambooth_loss(model, settings, z, t, noise)
    torch.testing.assert_close(loss, instance + 0.5 * prior)


def test_both_networks_learn_and_the_base_does_not(
    model: LatentDiffusion, training: Training
) -> None:
    before = vector(model)
    training.train(posterior(model, 2, "x"), 2)
    trained = training.model
    assert torch.equal(vector(model), before)
    for net, base in ((trained.unet, model.unet), (trained.text_encoder, model.text_encoder)):
        pairs = zip(net.parameters(), base.parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs)


def test_the_loss_of_the_learned_images_falls(model: LatentDiffusion, training: Training) -> None:
    images = posterior(model, 1, "x")
    z = model.reparameterize(images.mean, images.std, torch.zeros_like(images.mean))
    draws = range(32)
    noise = DRAWS.normal("test noise", model.latent_shape, draws)
    t = DRAWS.integers("test t", 1000, draws)

    @torch.no_grad()
    def loss() -> float:
        context = training.model.encode_prompt([SETTINGS.instance_prompt])
        repeated = z.expand(32, -1, -1, -1)
        return float(training.model.denoising_loss(repeated, context, t, noise).mean())

    first = loss()
    training.train(images, 30)
    assert loss() < 0.95 * first


def test_every_image_is_seen_over_short_calls(model: LatentDiffusion, training: Training) -> None:
    """Published code restarts at image 0 in every call, so some images are never seen."""
    base = posterior(model, 4, "x")
    images, training.prior = Spy(base.mean, base.std), Spy(training.prior.mean, training.prior.std)
    for _ in range(4):
        training.train(images, 3)
    assert [images.seen.count(i) for i in range(4)] == [3, 3, 3, 3]
    assert sorted(training.prior.seen[:10]) == sorted([*range(5), *range(5)])
    passes = [tuple(images.seen[i : i + 4]) for i in (0, 4, 8)]
    assert len(set(passes)) > 1


def test_short_calls_equal_one_long_call(model: LatentDiffusion) -> None:
    prior, images = posterior(model, 5, "prior"), posterior(model, 4, "x")
    once, often = (Training(model, SETTINGS, prior, DRAWS) for _ in range(2))
    once.train(images, 4)
    for _ in range(2):
        often.train(images, 2)
    assert torch.equal(vector(once.model), vector(often.model))


def test_training_ignores_the_global_generator(model: LatentDiffusion) -> None:
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        training = Training(model, SETTINGS, posterior(model, 3, "prior"), DRAWS)
        training.train(posterior(model, 2, "x"), 2)
        results.append(vector(training.model))
    assert torch.equal(*results)


def test_the_learning_rate_falls_to_0_and_stays_unless_told_to(model: LatentDiffusion) -> None:
    falling = replace(SETTINGS, decay_steps=4)
    assert [falling.rate(step) for step in range(6)] == [1e-3, 0.75e-3, 0.5e-3, 0.25e-3, 0, 0]
    assert SETTINGS.rate(10**6) == 1e-3
    training = Training(model, falling, None, DRAWS)
    images, states = posterior(model, 1, "x"), []
    for steps in (3, 1, 1):  # a step of rate 0 leaves the weights as they are
        training.train(images, steps)
        states.append(vector(training.model))
    assert not torch.equal(states[0], states[1]) and torch.equal(states[1], states[2])


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_a_micro_batch_changes_the_memory_and_not_the_step(
    model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch, micro_batch: int
) -> None:
    settings = replace(SETTINGS, instance_batch=3, prior_batch=2, prior_weight=0.5, clip=False)
    images, prior = posterior(model, 4, "x"), posterior(model, 5, "prior")
    sizes: list[int] = []
    loss = LatentDiffusion.denoising_loss

    def counted(self: LatentDiffusion, z: torch.Tensor, *rest: Any) -> torch.Tensor:
        sizes.append(len(z))
        return loss(self, z, *rest)

    def kept(optimizer: torch.optim.Optimizer, *given: Any, **options: Any) -> torch.Tensor:
        found = descend(optimizer, *given, **options)
        parameters = optimizer.param_groups[0]["params"]
        gradients.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))
        return found

    gradients: list[torch.Tensor] = []
    losses: list[float] = []
    monkeypatch.setattr(LatentDiffusion, "denoising_loss", counted)
    monkeypatch.setattr(dreambooth, "descend", kept)
    for size in (None, micro_batch):
        training = Training(model, replace(settings, micro_batch=size), prior, DRAWS)
        training.train(images, 1, lambda step, value: losses.append(value))
        assert all(p.grad is None for p in training.model.trainable_parameters())
    assert sizes[0] == 5 and max(sizes[1:]) == micro_batch and sum(sizes) == 10
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


def test_clipping_really_clips(model: LatentDiffusion) -> None:
    """An exhausted iterator would leave the gradient as it is (as in the released attacks)."""
    twin = model.copy()
    optimizer = torch.optim.AdamW(twin.trainable_parameters(), lr=1e-3)
    z, noise = (DRAWS.normal(name, model.latent_shape, 2) for name in ("z", "noise"))
    descend(optimizer, [1e4 * dreambooth_loss(twin, SETTINGS, z, torch.tensor([5, 500]), noise)])
    gradients = [p.grad for p in twin.trainable_parameters() if p.grad is not None]
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    torch.testing.assert_close(norm, torch.tensor(1.0), rtol=1e-3, atol=0)


def test_small_learning_rates_move_the_weights() -> None:
    """fp32 masters move where bf16 weights would not, at lr 5e-7."""
    values = DRAWS.normal("weights", (20_000,), 1) * 0.02
    moved = {}
    for dtype in (torch.float32, torch.bfloat16):
        weight = torch.nn.Parameter(values.to(dtype))
        before = weight.detach().clone()
        optimizer = torch.optim.AdamW([weight], lr=5e-7, weight_decay=1e-2, fused=True)
        for step in range(3):
            gradient = DRAWS.normal("gradient", (20_000,), 1, step).to(dtype)
            descend(optimizer, [(weight * gradient).sum()])
        moved[dtype] = float((weight != before).float().mean())
    assert moved[torch.float32] > 0.99 and moved[torch.bfloat16] < 0.02


def test_a_diverged_run_names_the_step(model: LatentDiffusion, training: Training) -> None:
    images = posterior(model, 1, "x")
    broken = Posterior(images.mean * torch.nan, images.std)
    with pytest.raises(UserError, match="steps 0 to 0"):
        training.train(broken, 1)


def test_the_posterior_is_sampled_afresh_each_step(
    model: LatentDiffusion, training: Training
) -> None:
    images = posterior(model, 1, "x")
    first = training._sample("instance", images, 1)
    training.step = 1
    assert not torch.equal(first, training._sample("instance", images, 1))
