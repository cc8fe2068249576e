"""What attacks are made of: targeted loss, steps of the sampler, surrogates as released, LoRA."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_zoo
import torch

from diffshortcut.artifacts import checkpoint
from diffshortcut.attacks import adapted, greedy
from diffshortcut.attacks.denoising import denoising_loss, posterior_sample, targeted_loss
from diffshortcut.attacks.eot import EoT
from diffshortcut.attacks.glaze import Adam, Glaze
from diffshortcut.attacks.greedy import GreedySearch
from diffshortcut.attacks.mist_v2 import MistV2
from diffshortcut.attacks.perturbation import Perturbation
from diffshortcut.attacks.photoguard import EncoderAttack
from diffshortcut.attacks.pid import PID
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.sds import SDS
from diffshortcut.attacks.simac import SimAC
from diffshortcut.attacks.target import Checkers, Grey
from diffshortcut.config import arms
from diffshortcut.data.person import Person
from diffshortcut.dreambooth import Posterior, Settings, Training
from diffshortcut.errors import UserError
from diffshortcut.graph import cells
from diffshortcut.models.features import decoder_features
from diffshortcut.models.ldm import LatentDiffusion, load
from diffshortcut.pictures.transforms import Flip
from diffshortcut.seeding import Draws

DRAWS = Draws(0, "protect", "nobody")
PROMPT = "a photo of sks person"


@pytest.fixture(params=["epsilon", "v"])
def model(
    request: pytest.FixtureRequest, tiny_ldm_folder: Path, tiny_v_ldm_folder: Path
) -> LatentDiffusion:
    folder = tiny_ldm_folder if request.param == "epsilon" else tiny_v_ldm_folder
    return load(weights=f"file:{folder}")


@pytest.fixture
def scene() -> Scene:
    b, a = tiny_zoo.pictures(3, seed=1), tiny_zoo.pictures(4, seed=2)
    return Scene(images=b, clean=a, prior=a, names=("a", "b", "c"))


def test_a_perfect_denoiser_steps_along_its_own_noise(model: LatentDiffusion) -> None:
    z, noise = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([1, 400, 999])
    z_t, truth = model.add_noise(z, noise, t), model.target(z, noise, t)
    torch.testing.assert_close(
        model.previous(z_t, truth, t), model.add_noise(z, noise, t - 1), atol=1e-3, rtol=1e-3
    )
    clean = model.previous(z_t, truth, t, torch.tensor([-1, -1, -1]))
    torch.testing.assert_close(clean, z, atol=1e-2, rtol=1e-2)
    assert torch.equal(model.add_noise(z, noise, torch.tensor([-1, -1, -1])), z)


def test_a_step_is_the_librarys_own(model: LatentDiffusion) -> None:
    from diffusers import DDIMScheduler

    solver = DDIMScheduler.from_config({**model.scheduler.config, "clip_sample": False})
    solver.set_timesteps(model.num_timesteps)
    z_t, out = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = solver.step(out, 500, z_t, eta=0.0).prev_sample
    torch.testing.assert_close(model.previous(z_t, out, torch.tensor([500])), expected)


def test_the_targeted_loss_of_a_perfect_denoiser_is_the_way_to_the_target(
    model: LatentDiffusion, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = torch.tensor([0, 300, 999])
    monkeypatch.setattr(Draws, "integers", lambda *_: times)
    z = posterior_sample(model, scene.images, DRAWS, range(3), 4)
    noise = DRAWS.normal("noise", z.shape[1:], 3, 4)
    truth = model.target(z, noise, times)
    monkeypatch.setattr(LatentDiffusion, "predict", lambda *_: truth)
    found = targeted_loss(model, PROMPT, model.encode(scene.clean[:1]), DRAWS)(
        scene.images, range(3), 4
    )
    way = (z - model.encode(scene.clean[:1])).square().mean((1, 2, 3))
    signal = torch.cat([torch.ones(1), model.scheduler.alphas_cumprod[times[1:] - 1]])
    torch.testing.assert_close(found, -signal * way, rtol=1e-3, atol=1e-5)


def test_targets_have_the_size_that_is_asked_for() -> None:
    board = Checkers(squares=4)(16)
    assert board.shape == (1, 3, 16, 16) and set(board.unique().tolist()) == {0.0, 1.0}
    assert board[0, 0, 0, 0] != board[0, 0, 0, 4] and board[0, 0, 0, 0] == board[0, 0, 3, 3]
    assert (Grey(level=0.25)(8) == 0.25).all()


@pytest.mark.parametrize("direction", ["plus", "minus"])
def test_sds_pulls_the_error_back_through_the_encoder_alone(
    direction: str, model: LatentDiffusion, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    predict = LatentDiffusion.predict

    def watched(self: LatentDiffusion, *args: torch.Tensor) -> torch.Tensor:
        calls.append(torch.is_grad_enabled())
        return predict(self, *args)

    monkeypatch.setattr(LatentDiffusion, "predict", watched)
    options = {"surrogate": model, "prompt": PROMPT, "radius": 11, "steps": 1}
    gradient = SDS(**options, direction=direction).gradient(scene, DRAWS)
    values, slope = gradient(scene.images, range(3), 0)
    assert calls == [False] and (slope.flatten(1).abs().sum(1) > 0).all()
    loss = denoising_loss(model, PROMPT, DRAWS)(scene.images, range(3), 0)
    torch.testing.assert_close(values, loss if direction == "plus" else -loss)


def test_pure_bfloat16_hardly_moves_at_the_papers_rate(
    model: LatentDiffusion, scene: Scene
) -> None:
    moved = {}
    for dtype in ("float32", "bfloat16"):
        settings = Settings(
            instance_prompt=PROMPT,
            class_prompt="a photo of person",
            learning_rate=5e-7,
            weights_dtype=dtype,
        )
        training = Training(model, settings, Posterior.of(model, scene.clean), DRAWS)
        matrices = [p for p in training.model.unet.parameters() if p.ndim > 1]
        for number, weight in enumerate(matrices):
            generator = torch.Generator().manual_seed(number)
            weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.02)
        before = [w.detach().clone() for w in matrices]
        training.train(Posterior.of(model, scene.images), 3)
        changed = [(w != b).flatten() for w, b in zip(matrices, before, strict=True)]
        moved[dtype] = float(torch.cat(changed).float().mean())
    assert moved["bfloat16"] < 0.02 < 0.9 < moved["float32"]


@pytest.mark.parametrize(
    ("kinds", "seen"),
    [
        (["instance", "prior"], {"instance": {0, 1, 2}, "prior": {0, 1, 2}}),  # the fourth never
        (["prior"], {"instance": {0, 1, 2, 3}, "prior": {0, 1, 2}}),  # MetaCloak's release
        ([], {"instance": {0, 1, 2, 3}, "prior": {0, 1, 2, 3}}),
    ],
)
def test_a_restarted_order_sees_only_the_first_images(
    model: LatentDiffusion, scene: Scene, kinds: list[str], seen: dict[str, set[int]]
) -> None:
    settings = Settings(instance_prompt=PROMPT, class_prompt="a", learning_rate=1e-4)
    training = Training(model, settings, Posterior.of(model, scene.clean), DRAWS)
    found: dict[str, set[int]] = {"instance": set(), "prior": set()}
    original = training._order

    def watched(what: str, count: int, batch: int) -> list[int]:
        order = original(what, count, batch)
        found[what].update(order)
        return order

    training._order = watched  # type: ignore[method-assign]
    for _ in range(3):
        training.restart_order(*kinds)
        training.train(Posterior.of(model, scene.clean), 3)
    assert found == seen


def test_a_lora_starts_as_no_change_and_is_all_that_is_trained(
    model: LatentDiffusion, scene: Scene
) -> None:
    before = torch.get_rng_state()
    found = adapted.lora(model, rank=2, learning_rate=1e-2, draws=DRAWS)
    again = adapted.lora(model, rank=2, learning_rate=1e-2, draws=DRAWS)
    assert torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, found.weights, again.weights))
    plain, changed = (denoising_loss(m, PROMPT, DRAWS) for m in (model, found.model))
    start = plain(scene.images, range(3), 0)
    torch.testing.assert_close(changed(scene.images, range(3), 0), start)
    trained = {name for name, p in found.model.unet.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    for _ in range(3):
        value = changed(scene.images, range(3), 0).mean()
        found.add_slopes(torch.autograd.grad(value, list(found.weights)))
        found.descend()
    assert changed(scene.images, range(3), 0).mean() < start.mean()
    assert not any("lora_" in name for name, _ in model.unet.named_parameters())


def test_cross_attention_is_keys_and_values_only(model: LatentDiffusion) -> None:
    found = adapted.cross_attention(model, 1e-3)
    names = {name for name, p in found.model.unet.named_parameters() if p.requires_grad}
    assert names and all("attn2.to_k" in name or "attn2.to_v" in name for name in names)


def test_features_carry_a_gradient_and_leave_no_hook(model: LatentDiffusion) -> None:
    z = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    context = model.encode_prompt([PROMPT])
    features = decoder_features(model, z, torch.tensor([3, 9]), context)
    assert features.shape[0] == 2 and torch.autograd.grad(features.sum(), z)[0].abs().sum() > 0
    assert not any(m._forward_hooks for m in model.unet.modules())


def test_the_greedy_search_drops_a_window_and_keeps_what_is_steep(
    model: LatentDiffusion, scene: Scene
) -> None:
    search = GreedySearch(candidates=3, window=20, timesteps_left=900, steps=50)
    lists = search(Perturbation(radius=11, step=1), model, PROMPT, scene, DRAWS)
    assert len(lists) == 3 and all(0 < len(some) <= 900 for some in lists)
    assert not torch.equal(lists[0], lists[1])  # per image
    for some in lists:
        kept = [-1, *some.tolist(), model.num_timesteps]
        gaps = [b - a - 1 for a, b in zip(kept, kept[1:], strict=False) if b > a + 1]
        assert gaps and min(gaps) > 20  # a window, cut in half at most, at either end
    assert scene.record.steps == 0
    untouched = GreedySearch(candidates=3, window=20, timesteps_left=1, steps=0)
    kept = untouched(Perturbation(radius=11, step=1), model, PROMPT, scene, DRAWS)
    assert all(len(some) == model.num_timesteps for some in kept)


def test_a_finished_search_is_not_repeated(
    model: LatentDiffusion, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SHORT", 0)  # as if it had taken a minute
    kept = replace(scene, checkpoint=checkpoint.Checkpoint(tmp_path))
    attack, looked = Perturbation(radius=11, step=1), []
    slopes = Perturbation.slopes

    def watched(*args: Any) -> torch.Tensor:
        looked.append(args[-1])
        return slopes(*args)

    monkeypatch.setattr(Perturbation, "slopes", watched)
    search = GreedySearch(candidates=3, window=20, timesteps_left=900, steps=50)
    first = search(attack, model, PROMPT, kept, DRAWS)
    assert 0 < len(looked) < 50 * 3  # it ended early
    looked.clear()
    assert all(map(torch.equal, first, search(attack, model, PROMPT, kept, DRAWS)))
    assert not looked


def test_the_timesteps_stay_beside_the_draws_whatever_the_device(
    model: LatentDiffusion, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greedy, "denoising_loss", lambda *_, **__: None)
    search = GreedySearch(candidates=3, window=20, timesteps_left=1, steps=0)
    with torch.device("meta"):  # for a GPU: what is read from a checkpoint is on the CPU
        lists = search(Perturbation(radius=11, step=1), model, PROMPT, scene, DRAWS)
    assert {some.device.type for some in lists} == {"cpu"}


def test_adam_moves_by_its_rate_at_first_and_forgets() -> None:
    adam = Adam(torch.zeros(1, 3, 2, 2), 0.01)
    first = adam(torch.full((1, 3, 2, 2), -5.0), 0)
    torch.testing.assert_close(first, torch.full_like(first, -2.55), rtol=1e-4, atol=0)
    for step in range(1, 200):
        last = adam(torch.full((1, 3, 2, 2), 5.0), step)
    assert (last > 0).all()


def test_fsmgs_surrogate_is_a_personalize_stage_on_set_a(tmp_path: Path) -> None:
    files = {}
    for name in ("set_A", "set_B", "set_C"):
        (tmp_path / name).write_bytes(name.encode())
        files[name] = (tmp_path / name,)
    person = Person("anna", **files)
    cfg = arms.compose(["attack=fsmg"])[-1].config
    cell = cells.plan(cfg, person)
    surrogate = cell["personalize.surrogate"]
    assert surrogate.stage == "personalize" and surrogate.sets == ("set_A",)
    assert cell["protect"].inputs["personalized"] is surrogate
    assert "personalized" not in cell["protect"].config["attack"]
    order = [task.stage for task in cells.merge([cell])]
    assert order.index("personalize") < order.index("protect") < len(order) - 1
    before = cell["protect"].key
    (tmp_path / "set_A").write_bytes(b"another")
    assert cells.plan(cfg, person)["protect"].key != before


class Mirrored:
    """A perceptual net that tells a picture from its mirror image, and a style without one."""

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean((1, 2, 3))

    def __call__(self, x: torch.Tensor, draws: object) -> torch.Tensor:
        return x


MIRROR = EoT(transforms=[Flip(probability=1)])
BALL = {"radius": 8, "step": 1, "steps": 1}


def glaze(model: LatentDiffusion, **options: float | EoT) -> Glaze:
    values = {"visible": 0.01, "weight": 30, "learning_rate": 0.001, **BALL, **options}
    return Glaze(surrogate=model, perceptual=Mirrored(), style=Mirrored(), **values)


def pid(model: LatentDiffusion, **options: float | EoT) -> PID:
    return PID(surrogate=model, **BALL, **options)


@pytest.mark.parametrize("method", [pid, glaze])
def test_what_an_image_is_compared_with_moves_along_with_it(
    method: Callable[..., PID | Glaze], model: LatentDiffusion, scene: Scene
) -> None:
    """An image that is mirrored, and nothing else, is where it was to the objective."""
    of_images = method(model, eot=MIRROR).objective(scene, DRAWS)
    mirrored = MIRROR.of(of_images, DRAWS)(scene.images, range(3), 0)
    still = method(model).objective(scene, DRAWS)(scene.images, range(3), 0)
    misaligned = of_images(scene.images, range(3), 0)
    assert torch.all((mirrored - still).abs() < 0.1 * (misaligned - still).abs())


def test_pid_adds_the_distances_of_mean_and_log_variance(
    model: LatentDiffusion, scene: Scene
) -> None:
    far = pid(model).objective(scene, DRAWS)(scene.images.flip(3), range(3), 0)
    (mean, std), (was, std_was) = (model.posterior(x) for x in (scene.images.flip(3), scene.images))
    expected = [
        ((mean[i] - was[i]) ** 2).mean() + ((std[i] ** 2 / std_was[i] ** 2).log() ** 2).mean()
        for i in range(3)
    ]
    torch.testing.assert_close(far, torch.stack(expected))


def test_simacs_features_are_those_of_the_image_mirrored_along(
    model: LatentDiffusion, scene: Scene
) -> None:
    def weighed(weight: float) -> torch.Tensor:
        attack = simac(model, weight)
        return MIRROR.of(attack.objective(scene, DRAWS), DRAWS)(scene.images, range(3), 0)

    torch.testing.assert_close(weighed(100), weighed(0))


def simac(model: LatentDiffusion, weight: float) -> SimAC:
    search = GreedySearch(candidates=1, window=0, timesteps_left=1, steps=0)
    rounds = {"rounds": 1, "clean_steps": 0, "pgd_steps": 1, "adversarial_steps": 0}
    prompts = {"instance_prompt": PROMPT, "class_prompt": "a photo of person"}
    options = {"greedy": search, "feature_weight": weight, "eot": MIRROR, "radius": 8}
    return SimAC(surrogate=model, **options, **rounds, **prompts, learning_rate=1e-4)


@pytest.mark.parametrize(("rate", "fails"), [(1e-3, False), (1e30, True)])
def test_a_lora_that_diverges_is_told_with_its_steps(
    model: LatentDiffusion, scene: Scene, rate: float, fails: bool
) -> None:
    schedule = {"rounds": 1, "pgd_steps": 1, "lora_steps": 4, "lora_rank": 2}
    options = {"prompt": PROMPT, "target_picture": Checkers(squares=4), "learning_rate": rate}
    attack = MistV2(surrogate=model, radius=11, **schedule, **options)
    if fails:
        with pytest.raises(UserError, match=r"LoRA, steps 0 to 3: the loss is (nan|inf)"):
            attack(scene, DRAWS)
    else:
        assert attack(scene, DRAWS).isfinite().all()
    unlearned = replace(attack, lora_steps=0)
    assert unlearned(scene, DRAWS).isfinite().all()


def test_glaze_starts_as_near_as_it_may_be_seen(model: LatentDiffusion, scene: Scene) -> None:
    for visible, radius, levels in ((0.04, 11, 5.1), (0.2, 11, 11), (0.04, 0, 0)):
        attack = glaze(model, visible=visible, radius=radius, learning_rate=1e-9)
        far = 255 * (attack(scene, DRAWS) - scene.images).abs()
        assert 0.9 * levels <= far.max() <= levels + 0.01


def test_glazes_weight_is_relative_to_unscaled_latents(
    model: LatentDiffusion, scene: Scene
) -> None:
    attack = replace(glaze(model), style=Inverse(), weight=0)
    noise = DRAWS.normal("posterior", model.latent_shape, range(3), 0)
    mean, std = model.posterior(scene.images)
    target, _ = model.posterior(1 - scene.images)
    expected = -(mean + std * noise - target).square().mean((1, 2, 3))
    found = attack.objective(scene, DRAWS)(scene.images, range(3), 0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class Inverse:
    """A style."""

    def __call__(self, x: torch.Tensor, draws: object) -> torch.Tensor:
        return 1 - x


def test_photoguard_without_a_target_picture_pulls_to_the_latent_0(
    model: LatentDiffusion, scene: Scene
) -> None:
    attack = EncoderAttack(surrogate=model, target_picture=None, **BALL)
    expected = -model.posterior(scene.images)[0].flatten(1).norm(dim=1)
    found = attack.objective(scene, DRAWS)(scene.images, range(3), 0)
    torch.testing.assert_close(found, expected)
