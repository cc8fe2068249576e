"""The attack through the purifier: what it aims at, its three levels, its gradients."""

from pathlib import Path
from typing import Any

import pytest
import tiny_zoo
import torch
from torch import Tensor

from diffshortcut.attacks.adaptive import Adaptive
from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.pgd import gradient_of
from diffshortcut.attacks.scene import Scene
from diffshortcut.config import arms
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError
from diffshortcut.graph import cells
from diffshortcut.job import command, measured
from diffshortcut.models import ldm, restorer, upscaler
from diffshortcut.pictures.images import resize
from diffshortcut.purifiers.codeformer import CodeFormer
from diffshortcut.purifiers.gaussian import Gaussian
from diffshortcut.purifiers.jpeg import Jpeg
from diffshortcut.purifiers.purifier import Purifier
from diffshortcut.purifiers.sr import SuperResolution
from diffshortcut.seeding import Draws
from diffshortcut.stages.purify import of_link

DRAWS = Draws(0, "protect", "nobody")
PROMPT = "a photo of sks person"
NOBODY = Person("nobody", (), (), ())


def arm(*overrides: str, name: str | None = None) -> dict[str, Any]:
    composed = {each.name: each.config for each in arms.compose(overrides)}
    return composed[name] if name else list(composed.values())[-1]


def test_it_aims_at_the_cells_own_purifier() -> None:
    cfg = arm("attack=adaptive", "purifier=[jpeg,sr]")
    assert cfg["attack"]["target"] == cfg["purifier"]
    undefended = arm("attack=adaptive", "purifier=[jpeg,sr]", name="protected")
    assert undefended["purifier"] == {} and undefended["attack"] == cfg["attack"]


def test_it_aims_at_what_is_named() -> None:
    cfg = arm("attack=adaptive", "purifier=jpeg", "attack.target=codeformer_sr", "scale.sr_steps=7")
    assert list(cfg["attack"]["target"]) == ["codeformer", "sr"] and list(cfg["purifier"]) == [
        "jpeg"
    ]
    assert cfg["attack"]["target"]["sr"]["steps"] == 7
    chain = arm("attack=adaptive", "attack.target=[jpeg,sr]", "attack.radius=8")
    assert chain["attack"]["radius"] == 8
    other = arm("attack=adaptive", "attack.target=sr", "purifier=jpeg", "purifier.jpeg.quality=50")
    assert list(other["attack"]["target"]) == ["sr"]
    assert list(chain["attack"]["target"]) == ["jpeg", "sr"]


def test_an_attack_aimed_elsewhere_does_not_look_through_the_purifier() -> None:
    assert looks_through_own("purifier=codeformer_sr")
    assert not looks_through_own("purifier=codeformer_sr", "attack.target=sr")


def looks_through_own(*overrides: str) -> bool:
    words = [
        "attack=adaptive",
        *overrides,
        "data.people=1",
        "compare.arms=[]",
        "compare.clean=null",
    ]
    [of_people] = command.comparison(words).cells.values()
    [cell] = of_people.values()
    return measured.looks_through(cell)


def test_without_a_purifier_it_says_what_to_do() -> None:
    with pytest.raises(UserError, match="attack.target=codeformer_sr"):
        arms.compose(["attack=adaptive"])


def test_each_arm_has_the_transformations_of_its_attack() -> None:
    listed = "compare.arms=[{name: aspl, overrides: ['attack=aspl']}]"
    mixed = arm("attack=metacloak", "purifier=jpeg", listed, "compare.clean=null", name="aspl")
    assert mixed["attack"]["eot"] is None
    assert len(arm("attack=metacloak")["attack"]["eot"]["transforms"]) == 2
    assert arm("attack=adaptive", "purifier=jpeg")["attack"]["eot"]["transforms"] == []
    assert (
        len(arm("attack=adaptive", "purifier=jpeg", "eot=strong")["attack"]["eot"]["transforms"])
        == 7
    )


def test_only_its_key_holds_the_purifier() -> None:
    def protect_key(*overrides: str) -> str:
        return cells.plan(arm(*overrides), NOBODY)["protect"].key

    for attack, same in (("attack=aspl", True), ("attack=adaptive", False)):
        keys = {protect_key(attack, f"purifier={name}") for name in ("jpeg", "gaussian")}
        assert (len(keys) == 1) is same


@pytest.fixture(scope="module")
def links(
    tiny_upscaler_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Purifier]:
    faces = tiny_zoo.restorer(tmp_path_factory.mktemp("restorer"))
    restore = restorer.load(weights=f"file:{faces}", detector=None)  # of aligned portraits
    enlarge = upscaler.load(weights=f"file:{tiny_upscaler_folder}")
    options = {"prompt": "a photo of a person", "guidance": 9.0, "noise_level": 20}
    return {
        "codeformer": CodeFormer(restorer=restore, fidelity=0.5),
        "sr": SuperResolution(upscaler=enlarge, steps=6, **options),
        "jpeg": Jpeg(quality=75),
        "gaussian": Gaussian(kernel=5, sigma=1.1),
    }


@pytest.fixture
def scene() -> Scene:
    pictures = tiny_zoo.pictures(3, seed=1)
    return Scene(images=pictures, clean=pictures, prior=None, names=("a", "b", "c"))


def attack(folder: Path, target: dict[str, Purifier], level: str) -> Adaptive:
    model = ldm.load(weights=f"file:{folder}")
    options = {"radius": 16, "step": 1, "steps": 2, "unrolled_steps": 2}
    return Adaptive(surrogate=model, prompt=PROMPT, target=target, level=level, **options)


@pytest.mark.parametrize("level", ["bpda", "trajectory", "unrolled"])
@pytest.mark.parametrize("names", [("codeformer", "sr"), ("codeformer",), ("sr",), ("jpeg",)])
def test_every_level_has_a_slope(
    names: tuple[str, ...],
    level: str,
    links: dict[str, Purifier],
    scene: Scene,
    tiny_ldm_folder: Path,
) -> None:
    found = attack(tiny_ldm_folder, {name: links[name] for name in names}, level)
    x = (scene.images + 0.02).clamp(0, 1)
    values, direction = gradient_of(found.objective(scene, DRAWS))(x, range(3), 0)
    assert values.isfinite().all() and direction.isfinite().all()
    assert (direction.flatten(1).abs().sum(1) > 0).all()


def test_bpda_is_the_loss_at_the_purified_image(
    links: dict[str, Purifier], scene: Scene, tiny_ldm_folder: Path
) -> None:
    found = attack(tiny_ldm_folder, {"jpeg": links["jpeg"]}, "bpda")
    values, direction = gradient_of(found.objective(scene, DRAWS))(scene.images, range(3), 0)
    purified = links["jpeg"](scene.images, DRAWS)
    loss = denoising_loss(found.surrogate, PROMPT, DRAWS)
    expected = gradient_of(loss)(purified, range(3), 0)
    torch.testing.assert_close(values, expected[0])
    torch.testing.assert_close(direction, expected[1])


def test_the_codes_pass_a_gradient(links: dict[str, Purifier]) -> None:
    net = links["codeformer"].restorer.net
    x = resize(tiny_zoo.pictures(2, seed=3), net.config.resolution).requires_grad_()
    assert not net(x * 2 - 1, w=0.0, adain=False)[0].requires_grad
    passed = net(x * 2 - 1, w=0.0, adain=False, straight_through=True)[0]
    (slope,) = torch.autograd.grad(passed.square().sum(), x)
    assert (slope.flatten(1).abs().sum(1) > 0).all()


def test_unrolled_sampling_is_the_purifiers_own(links: dict[str, Purifier]) -> None:
    x, sr = tiny_zoo.pictures(2, seed=4), links["sr"]
    ours = sr.with_gradient(x, DRAWS, steps=6)
    assert ours.shape == x.shape and not torch.equal(ours, sr.with_gradient(x, DRAWS, steps=2))
    low = torch.nn.functional.interpolate(x, scale_factor=0.25, mode="bicubic", antialias=True)
    pipeline = sr.upscaler.pipeline
    noise = DRAWS.normal("low resolution", low.shape[1:], 2)
    latents = DRAWS.normal("latents", (4, 8, 8), 2)

    def given(shape: tuple, **_: object) -> Tensor:
        return noise if shape[1] == 3 else latents

    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_upscale as module

    original, module.randn_tensor = module.randn_tensor, given
    try:
        theirs = pipeline(
            prompt=["a photo of a person"] * 2,
            image=low.clamp(0, 1),
            num_inference_steps=6,
            guidance_scale=9.0,
            noise_level=20,
            output_type="pt",
        ).images
    finally:
        module.randn_tensor = original
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


class Noisy:
    """A link that notes the draws it is given."""

    def __init__(self) -> None:
        self.given: list[Draws] = []

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        self.given.append(draws)
        return images


@pytest.mark.parametrize("level", ["bpda", "trajectory", "unrolled"])
def test_links_of_one_class_draw_for_themselves(
    level: str, scene: Scene, tiny_ldm_folder: Path
) -> None:
    """As in the stage that purifies, which numbers the second."""
    chain = {"noise": Noisy(), "again": Noisy()}
    attack(tiny_ldm_folder, chain, level).objective(scene, DRAWS)(scene.images, range(3), 0)
    first, second = (link.given[-1] for link in chain.values())
    here = DRAWS.scope("purify 0").from_image(0)
    assert first == of_link({"_target_": "x.Noisy"}, here)
    assert second == of_link({"_target_": "x.Noisy"}, here, 2) != first


@pytest.mark.parametrize(
    ("level", "name", "count"),
    [
        ("bpda", "sr", 8),
        ("trajectory", "sr", 64),
        ("trajectory", "jpeg", 8),
        ("unrolled", "sr", 8),
    ],
)
def test_whole_purifications_are_held_out_less_often(
    links: dict[str, Purifier], tiny_ldm_folder: Path, level: str, name: str, count: int
) -> None:
    chain = {"codeformer": links["codeformer"], name: links[name]}
    assert attack(tiny_ldm_folder, chain, level).held_out_draws == count


def test_draws_belong_to_the_image_not_to_the_batch(
    links: dict[str, Purifier], scene: Scene, tiny_ldm_folder: Path
) -> None:
    loss = attack(tiny_ldm_folder, {"sr": links["sr"]}, "trajectory").objective(scene, DRAWS)
    together = loss(scene.images, range(3), 5)
    alone = [loss(scene.images[i : i + 1], range(i, i + 1), 5) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-6)
    assert len(set(together.tolist())) == 3
