"""DreamBooth and CDL: prompts as printed and as released, options, results."""

import pytest
import torch
from omegaconf import OmegaConf

from diffshortcut.config import config
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws
from diffshortcut.trainers.dreambooth import Augmented, DreamBooth

DRAWS = Draws(0, "personalize", "nobody")
STRINGS = ("instance_prompt", "class_prompt", "inference_suffix")


def trainer(model: LatentDiffusion, **changes: object) -> DreamBooth:
    values = {
        "instance_prompt": "a photo of sks person",
        "class_prompt": "a photo of person",
        "steps": 2,
        "learning_rate": 1e-3,
    }
    return DreamBooth(model=model, **{**values, **changes})


def images(name: str, count: int = 4) -> torch.Tensor:
    return DRAWS.uniform(name, (3, 32, 32), count)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("dreambooth", ("a photo of sks person", "a photo of person", None)),
        (
            "cdl",
            (
                "a photo of sks person with XX noisy pattern",
                "a photo of person without XX noisy pattern",
                " without XX noisy pattern",
            ),
        ),
        (
            "cdl prompts=legacy",
            (
                "a photo of sks person, bhj noisy pattern",
                "a photo of person, without bhj noisy pattern",
                ", without bhj noisy pattern",
            ),
        ),
    ],
)
def test_prompts(choice: str, expected: tuple[str | None, ...]) -> None:
    """The prompts of the paper and those of the released code."""
    node = config.compose(f"trainer={choice}".split()).trainer
    assert tuple(node[key] for key in STRINGS) == expected


@pytest.mark.parametrize(
    ("choice", "token"),
    [
        ("unknown_quality", "UNKNOWN degraded quality"),
        ("unknown_artifact", "UNKNOWN artifact masked"),
        ("unknown_corruption", "UNKNOWN noise corruption"),
        ("bhi_corruption", "BHI noise corruption"),
    ],
)
def test_the_noise_tokens_of_table_5(choice: str, token: str) -> None:
    cfg = config.compose(["trainer=cdl", "sampler=quality", f"prompts={choice}"])
    assert cfg.trainer.instance_prompt == f"a photo of sks person with {token}"
    assert cfg.trainer.class_prompt == f"a photo of person without {token}"
    assert cfg.sampler.suffix == f" without {token}"
    assert cfg.sampler.negative_prompt.startswith(f"{token}, ")


def test_the_full_zoo_trains_as_the_paper_says() -> None:
    node = OmegaConf.to_container(config.compose(["zoo=full"]).trainer, resolve=True)
    assert {k: node[k] for k in ("steps", "learning_rate", "instance_batch", "prior_batch")} == {
        "steps": 1000,
        "learning_rate": 5e-7,
        "instance_batch": 1,
        "prior_batch": 1,
    }
    assert node["prior_weight"] == 1 and node["prior"]["images"] == 200


def test_no_steps_leave_the_base_model(model: LatentDiffusion) -> None:
    trained = trainer(model, steps=0)(images("x"), images("prior"), DRAWS)
    pairs = zip(trained.trainable_parameters(), model.trainable_parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({}, False),
        ({"instance_prompt": "a photo of bhj person"}, True),
        ({"class_prompt": "a photo of dog"}, True),
        ({"prior_weight": 0.5}, True),
        ({"instance_batch": 2, "prior_batch": 2}, True),
        ({"protected_fraction": 0.5}, True),
        ({"flip_probability": 0.5}, True),
        ({"blur_kernel": 7}, True),
        ({"inference_suffix": " without"}, False),
    ],
)
def test_options_do_what_they_say(
    change: dict[str, object], differs: bool, model: LatentDiffusion
) -> None:
    results = []
    for changes in ({}, change):
        trained = trainer(model, **changes)(images("x"), images("prior"), DRAWS, images("clean"))
        results.append(torch.cat([p.detach().flatten() for p in trained.trainable_parameters()]))
    assert torch.equal(*results) != differs


def test_without_prior_preservation_no_class_image_is_encoded(
    model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, encode = [], LatentDiffusion.posterior

    def counted(self: LatentDiffusion, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(len(x))
        return encode(self, x)

    monkeypatch.setattr(LatentDiffusion, "posterior", counted)
    trainer(model, prior_batch=0)(images("x"), images("prior", 3), DRAWS)
    assert seen == [4]


@pytest.mark.parametrize(("fraction", "clean"), [(1.0, 0), (0.75, 1), (0.5, 2), (0.3, 2), (0.0, 4)])
def test_the_first_images_are_replaced_by_clean_ones(
    fraction: float, clean: int, model: LatentDiffusion
) -> None:
    """int(n (1 - p)) of them."""
    x, originals = images("x"), images("clean")
    mixed = trainer(model, protected_fraction=fraction).mix(x, originals)
    assert torch.equal(mixed, torch.cat([originals[:clean], x[clean:]]))


def test_augmentation_is_drawn_anew_each_step(model: LatentDiffusion) -> None:
    flips = Augmented(trainer(model, flip_probability=0.5), images("x"), DRAWS)
    means = [flips.at([0], step)[0] for step in range(16)]
    plain, flipped = model.posterior(images("x", 1))[0], model.posterior(images("x", 1).flip(-1))[0]
    kinds = [torch.equal(mean, plain) for mean in means]
    assert 3 < sum(kinds) < 13
    assert all(torch.equal(m, plain if k else flipped) for m, k in zip(means, kinds, strict=True))
    blurs = Augmented(trainer(model, blur_kernel=7), images("x"), DRAWS)
    first, second = (blurs.at([0], step)[0] for step in range(2))
    assert not torch.equal(first, second) and not torch.equal(first, plain)


def test_a_fraction_that_floats_cannot_hold_is_not_cut_off(model: LatentDiffusion) -> None:
    """1 - 0.8 is less than a fifth."""
    x, originals = images("x", 5), images("clean", 5)
    mixed = trainer(model, protected_fraction=0.8).mix(x, originals)
    assert torch.equal(mixed[:1], originals[:1]) and torch.equal(mixed[1:], x[1:])


@pytest.mark.parametrize(
    "change",
    [
        {"steps": -1},
        {"learning_rate": 0},
        {"protected_fraction": 2},
        {"flip_probability": 5},
        {"blur_kernel": -3},
        {"blur_kernel": 1},
        {"prior_weight": -1},
    ],
)
def test_senseless_values_are_refused(change: dict[str, float], model: LatentDiffusion) -> None:
    with pytest.raises(ValueError):
        trainer(model, **change)
