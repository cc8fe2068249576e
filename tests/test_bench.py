"""The plain published loops are the same attacks as ours, and waste what they say."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_zoo
import torch
from torch import Tensor

from diffshortcut.attacks.advdm import AdvDM
from diffshortcut.attacks.aspl import ASPL
from diffshortcut.attacks.caat import CAAT
from diffshortcut.attacks.easpl import EnsembleASPL
from diffshortcut.attacks.eot import EoT
from diffshortcut.attacks.fsmg import FSMG
from diffshortcut.attacks.glaze import Glaze
from diffshortcut.attacks.greedy import GreedySearch
from diffshortcut.attacks.metacloak import MetaCloak
from diffshortcut.attacks.mist import Mist
from diffshortcut.attacks.mist_v2 import MistV2
from diffshortcut.attacks.photoguard import DiffusionAttack, EncoderAttack
from diffshortcut.attacks.pid import PID
from diffshortcut.attacks.record import Record
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.sds import SDS
from diffshortcut.attacks.simac import SimAC
from diffshortcut.attacks.target import Checkers, Grey
from diffshortcut.bench import published, published_later, published_rounds
from diffshortcut.bench.attacks import DRAWS, count, measure, watch
from diffshortcut.bench.cases import CASES, Case
from diffshortcut.bench.counts import Counts, counting
from diffshortcut.bench.measured import Measured, Times, sheets
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.pictures.transforms import Blur, Flip

N = 3
RADIUS = 11
PROMPT = "a photo of sks person"
BALL = {"radius": RADIUS, "step": 1}
FIXED = {**BALL, "steps": 2, "prompt": PROMPT}
TRAINED = {
    **BALL,
    "instance_prompt": PROMPT,
    "class_prompt": "a photo of person",
    "learning_rate": 1e-4,
}
ROUNDS = {**TRAINED, "rounds": 1, "clean_steps": 2, "pgd_steps": 2, "adversarial_steps": 1}
GREEDY = GreedySearch(candidates=2, window=20, timesteps_left=100, steps=1)
EQUAL = ["fsmg", "advdm", "photoguard_encoder", "mist", "sds", "caat", "glaze"]
EQUAL += ["aspl", "easpl", "metacloak", "simac", "pid", "photoguard", "mist_v2"]
TRANSFORMS = [Blur(kernel=7, sigma_min=0.1, sigma_max=2.0), Flip(probability=0.5)]


class Plain:
    """A perceptual net and a style, for Glaze."""

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean((1, 2, 3))

    def __call__(self, x: Tensor, draws: object) -> Tensor:
        return 1 - x


@pytest.fixture(scope="module")
def scene(tiny_ldm_folder: Path) -> Scene:
    images, clean, prior = (tiny_zoo.pictures(N, seed=seed) for seed in range(3))
    names = tuple(f"{i}.png" for i in range(N))
    return Scene(images=images, clean=clean, prior=prior, names=names, personalized=tiny_ldm_folder)


def attack(name: str, model: LatentDiffusion) -> Any:
    on = {"surrogate": model}
    metacloak = {"surrogate_steps": 1, "snapshots": 2, "trails": 1, "rounds": 1}
    metacloak |= {"pgd_steps": 2, "advance_steps": 1, "eot": EoT(transforms=TRANSFORMS)}
    glaze = {"perceptual": Plain(), "style": Plain(), "learning_rate": 0.005, "visible": 0.005}
    encoder = {"target_picture": Grey(), "steps": 2, "random_start": True}
    diffusion = {"target_picture": Grey(), "denoising_steps": 2, "guidance": 6.5}
    diffusion |= {"strength": 0.5, "samples": 2}
    mist_v2 = {"target_picture": Checkers(), "rounds": 2, "pgd_steps": 2, "lora_steps": 1}
    mist_v2 |= {"lora_rank": 2, "learning_rate": 1e-4}
    makers: dict[str, Any] = {
        "fsmg": lambda: FSMG(**on, **BALL, steps=2, instance_prompt=PROMPT),
        "advdm": lambda: AdvDM(**on, **FIXED, random_start=True),
        "photoguard_encoder": lambda: EncoderAttack(**on, **BALL, **encoder),
        "mist": lambda: Mist(**on, **FIXED, target_picture=Checkers()),
        "sds": lambda: SDS(**on, **FIXED),
        "caat": lambda: CAAT(**on, **FIXED, learning_rate=1e-4),
        "glaze": lambda: Glaze(**on, **BALL, steps=2, weight=30, **glaze),
        "aspl": lambda: ASPL(**on, **ROUNDS),
        "easpl": lambda: EnsembleASPL(surrogates={"a": model, "b": model}, **ROUNDS),
        "metacloak": lambda: MetaCloak(**on, **TRAINED, **metacloak),
        "simac": lambda: SimAC(**on, **ROUNDS, greedy=GREEDY, feature_weight=1.0),
        "pid": lambda: PID(**on, **BALL, steps=2, random_start=True),
        "photoguard": lambda: DiffusionAttack(**on, **FIXED | {"prompt": ""}, **diffusion),
        "mist_v2": lambda: MistV2(**on, **BALL, prompt=PROMPT, **mist_v2),
    }
    return makers[name]()


def loop(name: str) -> Any:
    files = (published, published_rounds, published_later)
    [found] = [vars(file)[name] for file in files if name in vars(file)]
    return found


def levels(images: Tensor, scene: Scene) -> Tensor:
    return ((images - scene.images) * 255).abs().flatten(1).max(dim=1).values


@pytest.mark.parametrize("name", EQUAL)
def test_the_plain_loop_is_the_same_attack(name: str, model: LatentDiffusion, scene: Scene) -> None:
    ours = attack(name, model)
    a = ours(replace(scene, record=Record()), DRAWS)
    b = loop(name)(ours, replace(scene, record=Record()), DRAWS)
    assert ((a - b).abs() < 0.02 / 255).float().mean() > 0.999
    assert (levels(b, scene) > 0).all() and (levels(b, scene) <= RADIUS + 1e-3).all()
    assert not b.requires_grad and b.min() >= 0 and b.max() <= 1


def test_features_without_gradient_are_the_same_attack_too(
    model: LatentDiffusion, scene: Scene
) -> None:
    ours = replace(attack("simac", model), attach_features=False)
    a, b = ours(scene, DRAWS), published_rounds.simac(ours, scene, DRAWS)
    assert ((a - b).abs() < 0.02 / 255).float().mean() > 0.999


def test_the_step_through_the_denoiser_stays_in_the_ball(
    model: LatentDiffusion, scene: Scene
) -> None:
    protected = published.sds_with_denoiser(attack("sds", model), scene, DRAWS)
    assert (levels(protected, scene) > 0).all() and (levels(protected, scene) <= RADIUS).all()


@pytest.mark.parametrize(
    ("name", "turns", "theirs", "ours"),
    [  # texts, encoded, denoised, with backward, copies of a turn
        ("fsmg", "FSMG", (3, 3, 3, 3, 0), (0, 3, 3, 3, 0)),
        ("aspl", "aspl", (2 * 3 + 3 * 2, 2 * 3 + 3 * 2, 12, 12, 3), (1 + 3 * 2, 9, 12, 12, 0)),
        ("metacloak", "metacloak", (2 * 3 + 2, 8, 8, 8, 1), (1 + 2, 9, 8, 8, 0)),
        ("mist", "Mist", (0, 9, 3, 3, 0), (0, 3, 3, 3, 0)),
        ("sds", "SDS", (0, 3, 3, 0, 0), (0, 3, 3, 0, 0)),
        ("pid", "PID", (0, 6, 0, 0, 0), (0, 3, 0, 0, 0)),
        ("photoguard", "DiffusionAttack", (0, 6, 24, 24, 0), (0, 3, 12 + 12, 24, 0)),
        ("mist_v2", "mist_v2", (0, 19, 7, 7, 0), (0, 7, 7, 7, 0)),
        ("sds_with_denoiser", "SDS", (3, 3, 3, 3, 0), (0, 3, 3, 0, 0)),
        ("simac", "simac: timesteps", (9, 9, 9, 9, 0), (0, 9, 9, 9, 0)),
    ],
)
def test_what_a_turn_computes(
    name: str,
    turns: str,
    theirs: tuple[int, ...],
    ours: tuple[int, ...],
    model: LatentDiffusion,
    scene: Scene,
) -> None:
    method = attack("sds" if name == "sds_with_denoiser" else name, model)
    plain = partial(loop(name), method)
    counts = [count(one, turns, scene, operations=False) for one in (plain, method)]
    assert [astuple(c)[1:6] for c in counts] == [theirs, ours]


def test_operations_are_those_of_the_convolutions_and_products(model: LatentDiffusion) -> None:
    total, net = Counts(), torch.nn.Conv2d(3, 5, 3, padding=1, bias=False)
    with counting(total):
        net(torch.rand(2, 3, 8, 8))
    assert total.flops == 2 * (2 * 8 * 8 * 5) * (3 * 3 * 3)
    assert total.texts == total.encoded == total.denoised == total.copies == 0


def test_a_step_without_gradients_of_weights_has_fewer_operations(
    model: LatentDiffusion, scene: Scene
) -> None:
    ours = attack("fsmg", model)
    counts = [count(one, "FSMG", scene) for one in (partial(published.fsmg, ours), ours)]
    assert counts[0].flops > 1.05 * counts[1].flops


def test_a_measurement_is_a_ratio_of_times_beside_one_of_operations(
    model: LatentDiffusion, scene: Scene
) -> None:
    case = Case("nothing", published.photoguard_encoder, (), "EncoderAttack")
    ours = attack("photoguard_encoder", model)
    found = measure(case, partial(case.published, ours), ours, scene, seconds=0)
    assert found.counted == pytest.approx(1, abs=0.01) and found.wall > 0
    theirs = Times.shortest([Times(1.3, 1.6), Times(1.2, 1.8)])
    pairs = [(theirs, Times(1.0, 1.0)), (Times(9, 9), Times(1, 1)), (Times(1, 1), Times(1, 1))]
    times, counts = sheets([Measured("x", (Counts(flops=3e9), Counts(flops=2e9)), pairs)])
    shown = ["1.50", "1.200 / 1.000", "1.20", "80% <", "1.60", "107%"]
    assert times.rows == [["x", "3.0 / 2.0", *shown]]
    assert counts.rows[0][1:] == ["0 / 0"] * 5


def test_only_the_turns_of_one_loop_are_watched(model: LatentDiffusion, scene: Scene) -> None:
    seen: list[int] = []

    @contextmanager
    def around() -> Iterator[None]:
        yield
        seen.append(1)

    watch(attack("simac", model), "simac", scene, around)
    assert len(seen) == 1
    with pytest.raises(ValueError, match="no loop 'other'"):
        count(attack("sds", model), "other", scene)


def test_every_case_can_be_composed() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    case = next(case for case in CASES if case.name.startswith("aspl"))
    assert isinstance(case.attack(), ASPL) and case.attack().rounds == 1
