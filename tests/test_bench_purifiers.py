"""The plain published loops purify as ours do, and waste what they say."""

from pathlib import Path
from typing import Any

import pytest
import tiny_zoo
import torch
from tiny_zoo import TinyZoo

from diffshortcut.bench import published_diffpure as diffpure
from diffshortcut.bench import published_purifiers as published
from diffshortcut.bench.measured import counted, timed
from diffshortcut.bench.purifiers import CASES, DRAWS, Case, costs, sides
from diffshortcut.config import catalog, config

IMAGES = tiny_zoo.pictures(3, seed=1)
GRID = ("gridpure.t=2", "gridpure.iterations=2")


@pytest.fixture(scope="module")
def zoo(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_ldm_folder: Path,
    tiny_pixel_folder: Path,
    tiny_upscaler_folder: Path,
) -> TinyZoo:
    recognizer = tiny_zoo.recognizer_b(tmp_path_factory.mktemp("recognizer"))
    return {
        "diffshortcut.models.ldm.load": tiny_ldm_folder,
        "diffshortcut.models.pixel_diffusion.load": tiny_pixel_folder,
        "diffshortcut.models.upscaler.load": tiny_upscaler_folder,
        "diffshortcut.models.perceptual.load": recognizer,
    }


def link(zoo: TinyZoo, name: str, *values: str) -> Any:
    overrides = [f"purifier={name}", *(f"purifier.{value}" for value in values)]
    [node] = tiny_zoo.node("purifier", overrides, zoo).values()
    return config.build(node, "purifier")


@pytest.mark.parametrize(
    ("name", "loop", "values"),
    [
        ("gridpure", published.gridpure, GRID),
        ("pixel_diffpure", diffpure.pixel_diffpure, ("pixel_diffpure.t=3",)),
        ("ddspure", diffpure.ddspure, ("ddspure.radius=1",)),
        ("ddspure", diffpure.ddspure, ("ddspure.radius=1", "ddspure.one_shot=true")),
        ("latent_diffpure", published.latent_diffpure, ()),
        ("latent_diffpure_null", published.latent_diffpure, ()),
        ("impress", published.impress, ()),
        ("impress/official", published.impress, ()),
        ("sr", published.one_by_one, ()),
    ],
)
def test_the_plain_loop_gives_the_same_images(
    name: str, loop: Any, values: tuple[str, ...], zoo: TinyZoo
) -> None:
    ours = link(zoo, name, *values)
    plain = loop(ours, IMAGES, DRAWS)
    torch.testing.assert_close(plain, ours(IMAGES, DRAWS), atol=2e-4, rtol=0)
    assert not plain.requires_grad


def test_windows_are_batched_over_windows_and_images(zoo: TinyZoo) -> None:
    ours = link(zoo, "gridpure", *GRID, "gridpure.diffpure.micro_batch=null")
    theirs = counted(lambda: published.gridpure(ours, IMAGES, DRAWS))
    mine = counted(lambda: ours(IMAGES, DRAWS))
    windows = 3 * 10 * 2 * 2  # images, windows, iterations, t
    assert theirs.windows == mine.windows == windows
    assert (theirs.calls, mine.calls) == (windows, 2 * 2)
    assert theirs.flops == pytest.approx(mine.flops, rel=1e-3)


def test_without_a_prompt_one_branch_is_enough(zoo: TinyZoo) -> None:
    for name, ratio in (("latent_diffpure", 1), ("latent_diffpure_null", 2)):
        ours = link(zoo, name)
        theirs = counted(lambda ours=ours: published.latent_diffpure(ours, IMAGES, DRAWS))
        assert theirs.denoised == ratio * counted(lambda ours=ours: ours(IMAGES, DRAWS)).denoised


def test_impress_knows_its_fixed_target_and_needs_no_gradient_of_weights(zoo: TinyZoo) -> None:
    ours = link(zoo, "impress")
    theirs = counted(lambda: published.impress(ours, IMAGES, DRAWS))
    mine = counted(lambda: ours(IMAGES, DRAWS))
    assert (theirs.features, mine.features) == (2 * 3 * 3, 3 * 3 + 2 * 3)
    assert theirs.encoded == mine.encoded and theirs.flops > 1.2 * mine.flops
    assert not any(p.requires_grad for p in ours.model.vae.parameters())


def test_every_purifier_of_the_methods_is_measured() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    methods = {name for name in catalog.groups()["purifier"] if "/" not in name}
    assert methods - set(names) == {"none", "noise", "ours"}  # ours purifies as codeformer_sr does


def test_every_case_can_be_composed() -> None:
    for case in CASES:
        overrides = [f"purifier={case.name}", *(f"purifier.{value}" for value in case.short)]
        config.check(config.resolve(config.compose(overrides)))
    for side in sides(Case("gaussian", published.one_by_one), IMAGES):
        assert timed(side).wall > 0


@pytest.mark.long
def test_the_cost_of_a_purifier_is_measured_in_a_process_of_its_own() -> None:
    name, *found = costs("jpeg", threads=1)
    assert name == "jpeg" and len(found) == 8  # load, first, next, memory of two batches
    assert all(float(value) >= 0 for value in found) and float(found[3]) > 0.1
