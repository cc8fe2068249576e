"""The contract of every purifier in conf/purifier, found by itself, and what each family does."""

from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_zoo
import torch
from PIL import Image, ImageFilter
from tiny_zoo import TinyZoo
from torch import Tensor

from diffshortcut.bench import scenes
from diffshortcut.config import catalog, config
from diffshortcut.errors import UserError
from diffshortcut.models import codeformer, ldm, pixel_diffusion, upscaler
from diffshortcut.pictures.images import files, quantize, read_files, resize, write_folder
from diffshortcut.purifiers.codeformer import CodeFormer
from diffshortcut.purifiers.gaussian import Gaussian, PillowGaussian
from diffshortcut.purifiers.jpeg import Jpeg
from diffshortcut.purifiers.sr import SuperResolution
from diffshortcut.seeding import Draws
from diffshortcut.stages import purify as stage
from diffshortcut.stages.inputs import Inputs

PURIFIERS = catalog.groups()["purifier"]
DRAWS = Draws(seed=0, stage="purify", person="nobody")
IMAGES = tiny_zoo.pictures(3, seed=1)
CONSTANT = ([0, 0, 0], [128, 128, 128], [51, 128, 204], [255, 255, 255])  # 8-bit levels


@pytest.fixture(scope="session")
def zoo(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_ldm_folder: Path,
    tiny_upscaler_folder: Path,
    tiny_pixel_folder: Path,
) -> TinyZoo:
    return {
        "diffshortcut.models.ldm.load": tiny_ldm_folder,
        "diffshortcut.models.pixel_diffusion.load": tiny_pixel_folder,
        "diffshortcut.models.perceptual.load": tiny_zoo.recognizer_b(
            tmp_path_factory.mktemp("recognizer")
        ),
        "diffshortcut.models.upscaler.load": tiny_upscaler_folder,
        "diffshortcut.models.restorer.load": tiny_zoo.restorer(tmp_path_factory.mktemp("restorer")),
        "diffshortcut.models.faces.load_detector": tiny_zoo.detector(
            tmp_path_factory.mktemp("det")
        ),
    }


def purify(links: dict[str, Any], images: Tensor = IMAGES, draws: Draws = DRAWS) -> Tensor:
    for link in links.values():
        images = config.build(link, "purifier")(images, stage.of_link(link, draws))
    return images


@pytest.mark.parametrize("name", PURIFIERS)
def test_shape_range_and_determinism(name: str, zoo: TinyZoo) -> None:
    links = tiny_zoo.node("purifier", [f"purifier={name}"], zoo)
    torch.manual_seed(1)
    first = purify(links)
    assert first.shape == IMAGES.shape and first.dtype == torch.float32
    assert first.min() >= 0 and first.max() <= 1 and not first.requires_grad
    torch.manual_seed(2)
    assert torch.equal(purify(links), first)
    assert torch.equal(first, IMAGES) == (name == "none")


@pytest.mark.parametrize("name", PURIFIERS)
def test_a_batch_is_its_images_one_by_one(name: str, zoo: TinyZoo) -> None:
    """With the draws that an image has in the batch.

    Images kept in 8 bit between iterations are left in float here: there a difference of 1e-7 may
    round to another level.
    """
    links = tiny_zoo.node("purifier", [f"purifier={name}"], zoo)
    links = {
        key: {**link, "storage": "float"} if "storage" in link else link
        for key, link in links.items()
    }
    together = purify(links)
    for i in range(len(IMAGES)):
        alone = purify(links, IMAGES[i : i + 1], DRAWS.from_image(i))
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PURIFIERS)
@pytest.mark.parametrize("size", [(37, 50), (50, 37), (13, 29)])
def test_any_size_and_aspect(name: str, size: tuple[int, int], zoo: TinyZoo) -> None:
    links = tiny_zoo.node("purifier", [f"purifier={name}"], zoo)
    purified = purify(links, quantize(resize(IMAGES[:1], size)))
    assert purified.shape[-2:] == size and purified.min() >= 0 and purified.max() <= 1


def beyond(x: Tensor) -> Tensor:
    """What overshoots at both ends, in [0, 1] and in [-1, 1]."""
    return x * 1.06 - 0.02


@pytest.fixture
def overshooting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random nets may draw anything: these give back what they get, and leave the range a little.

    What is around them, which is to bring it back, is the real thing.
    """
    pixel, latent = pixel_diffusion.PixelDiffusion, ldm.LatentDiffusion
    monkeypatch.setattr(pixel, "q_sample", lambda _, x, t, noise: beyond(x))
    monkeypatch.setattr(pixel, "p_sample", lambda _, x, t, noise: x)
    monkeypatch.setattr(pixel, "predict", lambda _, x, t: pixel_diffusion.Prediction(x, x, x))
    monkeypatch.setattr(codeformer.CodeFormer, "forward", lambda _, x, **rest: (beyond(x),))
    monkeypatch.setattr(
        upscaler.Upscaler,
        "__call__",
        lambda _, x, **rest: beyond(x.repeat_interleave(4, 2).repeat_interleave(4, 3)),
    )
    monkeypatch.setattr(latent, "encode", lambda _, images: images)
    monkeypatch.setattr(latent, "posterior", lambda _, images: (images, 0 * images))
    monkeypatch.setattr(latent, "reparameterize", lambda _, mean, std, noise: mean)
    for name in ("add_noise", "predict", "previous"):
        monkeypatch.setattr(latent, name, lambda _, z, *rest: z)
    monkeypatch.setattr(
        latent,
        "decode",
        lambda _, z, clip=True: beyond(z).clamp(0, 1) if clip else beyond(z),
    )


WRAP = {"gridpure/legacy", "pixel_diffpure/legacy", "ddspure/legacy"}  # on purpose


@pytest.mark.usefixtures("overshooting")
@pytest.mark.parametrize("name", PURIFIERS)
@pytest.mark.parametrize("level", [2, 253])
def test_nothing_wraps_around_near_black_and_white(name: str, level: int, zoo: TinyZoo) -> None:
    """A level that wraps lands at the other end."""
    links = tiny_zoo.node("purifier", [f"purifier={name}"], zoo)
    images = quantize(IMAGES[:1] * (2 / 255) + (level - 1) / 255)
    farthest = float((purify(links, images) - images).abs().max())
    assert farthest > 0.9 if name in WRAP else farthest < 0.5


def test_without_a_model_a_constant_image_stays(zoo: TinyZoo) -> None:
    """But for noise, which is to be seen on it. With a model: tests/test_mini_zoo.py."""
    all_links = {n: tiny_zoo.node("purifier", [f"purifier={n}"], zoo) for n in PURIFIERS}
    bare = {name for name, links in all_links.items() if not config.references(links)}
    assert {"none", "noise", "gaussian", "gaussian/legacy", "jpeg", "adverse_cleaner"} <= bare
    for name, color in product(bare - {"noise"}, CONSTANT):
        images = torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, 32, 32) / 255
        purified = purify(all_links[name], images)
        torch.testing.assert_close(purified, images, atol=1.01 / 255, rtol=0, msg=name)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Jpeg(quality=0),
        lambda: Gaussian(kernel=4, sigma=1.0),
        lambda: Gaussian(kernel=5, sigma=0.0),
        lambda: PillowGaussian(radius=-1),
        lambda: CodeFormer(restorer=None, fidelity=1.5),
        lambda: SuperResolution(upscaler=None, prompt="", steps=0, guidance=9.0, noise_level=20),
    ],
)
def test_impossible_values_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        wrong()


@pytest.mark.parametrize(
    "value",
    [
        "pixel_diffpure.t=0",
        "gridpure.t=0",
        "latent_diffpure.t=-1",
        "jpeg.quality=0",
        "gaussian.kernel=1",
        "adverse_cleaner.bilateral_filters=-1",
        "adverse_cleaner.diameter=0",
        "adverse_cleaner.sigma_color=0",
        "adverse_cleaner.epsilon=0",
        "ddspure.diffpure.respacing=1",
        "impress.learning_rate=0",
        "impress.epsilon=0",
        "tvm.iterations=0",
        "tvm.enlarge.guidance=-1",
        "sr.guidance=-1",
    ],
)
def test_impossible_values_are_refused_before_anything_is_loaded(value: str) -> None:
    links = resolved(f"purifier={value.partition('.')[0]}", f"purifier.{value}")["purifier"]
    with pytest.raises(UserError, match=rf"purifier\.{value.rpartition('.')[0]}: "):
        config.check_values(links, "purifier")


def resolved(*overrides: str) -> dict[str, Any]:
    return config.resolve(config.compose(overrides))


def test_ours_has_the_very_links_of_codeformer_sr_and_sets_trainer_and_sampler() -> None:
    ours, parts = resolved("purifier=ours"), resolved("purifier=codeformer_sr")
    assert list(ours["purifier"]) == ["codeformer", "sr"]
    assert ours["purifier"] == parts["purifier"]
    assert ours["purifier"] == resolved("purifier=[codeformer,sr]")["purifier"]
    chosen = resolved("purifier=codeformer_sr", "trainer=cdl", "sampler=quality")
    assert (ours["trainer"], ours["sampler"]) == (chosen["trainer"], chosen["sampler"])
    assert parts["trainer"] == resolved()["trainer"] != ours["trainer"]


def test_ours_as_released_is_four_released_parts() -> None:
    parts = ["purifier=codeformer_sr/legacy", "trainer=cdl"]
    parts += ["sampler=quality/legacy", "prompts=legacy"]
    assert resolved("purifier=ours/legacy") == resolved(*parts)


@pytest.mark.parametrize("first", [True, False])
def test_the_command_line_wins_over_ours(first: bool) -> None:
    choice = ["trainer=dreambooth", "sampler=plain"]
    mixed = resolved(*(["purifier=ours", *choice] if first else [*choice, "purifier=ours"]))
    plain = resolved("purifier=codeformer_sr")
    assert (mixed["trainer"], mixed["sampler"]) == (plain["trainer"], plain["sampler"])


def test_a_chain_keeps_its_order() -> None:
    assert list(resolved("purifier=[sr,jpeg]")["purifier"]) == ["sr", "jpeg"]
    assert list(resolved("purifier=[jpeg,sr]")["purifier"]) == ["jpeg", "sr"]
    assert resolved("purifier=none")["purifier"] == {}


def to_pillow(image: Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def test_jpeg_is_pillows_at_half_chroma_resolution() -> None:
    file = BytesIO()
    to_pillow(IMAGES[1]).save(file, "JPEG", quality=75)  # Pillow's default is 4:2:0
    expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255
    assert torch.equal(Jpeg(quality=75)(IMAGES, DRAWS)[1], expected)


def test_a_better_jpeg_is_nearer() -> None:
    errors = [
        float((Jpeg(quality=q)(IMAGES, DRAWS) - IMAGES).square().mean()) for q in (10, 50, 95)
    ]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 2e-3


def test_the_released_blur_is_pillows_and_far_stronger_than_the_printed_one() -> None:
    images = quantize(torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0)))
    released = PillowGaussian(radius=5)(images, DRAWS)
    expected = np.array(to_pillow(images[0]).filter(ImageFilter.GaussianBlur(5)))
    assert torch.equal(
        (released[0] * 255).round().byte().permute(1, 2, 0), torch.from_numpy(expected)
    )
    printed = Gaussian(kernel=5, sigma=1.1)(images, DRAWS)
    assert released.std() < 0.5 * printed.std()


class Recorder:
    """Stands where a model does and keeps what it was given."""

    def __call__(self, images: Tensor, **options: Any) -> Tensor:
        self.images, self.options = images, options
        return images.repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_super_resolution_shrinks_by_4_and_passes_its_options() -> None:
    model = Recorder()
    purifier = SuperResolution(
        upscaler=model, prompt="a photo", steps=75, guidance=9.0, noise_level=20, micro_batch=3
    )
    assert purifier(IMAGES, DRAWS).shape == IMAGES.shape
    assert torch.equal(model.images, resize(IMAGES, 8))
    assert model.options == {
        "prompt": "a photo",
        "steps": 75,
        "guidance": 9.0,
        "noise_level": 20,
        "draws": DRAWS,
        "micro_batch": 3,
    }


def test_super_resolution_keeps_sizes_that_4_does_not_divide() -> None:
    images = torch.rand(1, 3, 33, 30)
    purifier = SuperResolution(upscaler=Recorder(), prompt="", steps=1, guidance=1.0, noise_level=0)
    assert purifier(images, DRAWS).shape == images.shape


@pytest.mark.parametrize(
    ("purifier", "noun", "prompt"),
    [
        ("sr", "person", "a photo of a person, high quality, highres"),
        ("codeformer_sr", "dog", "a photo of a dog, high quality, highres"),
        ("sr/legacy", "dog", "A photo of a person"),
        ("codeformer_sr/legacy", "dog", "A photo of a person"),
    ],
)
def test_the_prompt_of_super_resolution(purifier: str, noun: str, prompt: str) -> None:
    cfg = resolved(f"purifier={purifier}", f"prompts.class_noun={noun}")
    assert cfg["purifier"]["sr"]["prompt"] == prompt


@pytest.mark.parametrize("given", [None, IMAGES[:1], IMAGES[..., :-1]])
def test_what_is_no_image_of_the_same_size_is_the_users_error(
    given: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "images", IMAGES, [f"{i}.png" for i in range(len(IMAGES))])
    monkeypatch.setattr(stage, "build", lambda node, where: lambda images, draws: given)
    inputs = Inputs(artifacts={"images": tmp_path})
    with pytest.raises(UserError, match="the purifier gave"):
        stage.run(
            config={"link": {"_target_": "x.Y"}}, inputs=inputs, out=tmp_path / "out", draws=DRAWS
        )


@pytest.mark.parametrize("photos", [{}, {"resolution": None}, {"resolution": 32}])
def test_the_seconds_of_a_purification_are_neither_loading_nor_a_second_look(
    photos: dict[str, int | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def build(node: object, where: str) -> Any:
        clock[0] += 100
        return passing

    def passing(images: Tensor, draws: Draws) -> Tensor:
        clock[0] += len(images)
        return images

    write_folder(tmp_path / "images", IMAGES)
    monkeypatch.setattr(stage, "build", build)
    monkeypatch.setattr(stage.time, "perf_counter", lambda: clock[0])
    config = {"link": {"_target_": "x.Y"}, **photos}
    inputs = Inputs(artifacts={"images": tmp_path})
    facts = stage.run(config=config, inputs=inputs, out=tmp_path / "out", draws=DRAWS)
    assert facts["purification_seconds"] == len(IMAGES)


def test_links_of_a_chain_draw_for_themselves_and_equal_links_alike() -> None:
    nodes = resolved("purifier=[pixel_diffpure,ddspure]")["purifier"]
    first, second = (
        stage.of_link(node, DRAWS).normal("diffuse", (3,), 2) for node in nodes.values()
    )
    assert not torch.equal(first, second)
    alone = resolved("purifier=ddspure")["purifier"]["ddspure"]
    assert torch.equal(stage.of_link(alone, DRAWS).normal("diffuse", (3,), 2), second)


def test_experiments_draw_for_a_chain_as_its_stages_do() -> None:
    link = resolved("purifier=noise")["purifier"]["noise"]
    expected = IMAGES
    for number in (1, 2):
        own = stage.of_link(link, DRAWS, number)
        expected = quantize(config.build(link, "purifier")(expected, own))
    assert torch.equal(scenes.purified({"noise": link, "again": link}, IMAGES, DRAWS), expected)


def test_two_links_of_one_class_add_unequal_noise(tmp_path: Path) -> None:
    """On the same pictures, so that nothing but the draws can differ."""
    write_folder(tmp_path / "images", IMAGES)
    link = resolved("purifier=noise")["purifier"]["noise"]
    made = []
    for number in ({}, {"number": 1}, {"number": 2}):
        out = tmp_path / f"out {len(made)}"
        inputs = Inputs(artifacts={"images": tmp_path})
        stage.run(config={"link": link, **number}, inputs=inputs, out=out, draws=DRAWS)
        made.append(read_files(files(out / "images")))
    assert torch.equal(made[0], made[1])
    first, second = ((x - IMAGES).flatten() for x in made[1:])
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.1
