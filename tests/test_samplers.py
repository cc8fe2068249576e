"""Eq. 6 and sampling against diffusers' pipeline."""

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

from diffshortcut.config import config
from diffshortcut.models import ldm
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.samplers.classifier_free import ClassifierFree, guided
from diffshortcut.seeding import Draws

DRAWS = Draws(0, "generate", "nobody")
NEGATIVE = "noisy, abstract, pattern, low quality"


def sampler(model: LatentDiffusion, **changes: object) -> ClassifierFree:
    values = {"prompts": ["a", "b"], "images": 3, "steps": 4, "guidance": 7.5}
    return ClassifierFree(model=model, **{**values, **changes})


@pytest.mark.parametrize(
    ("overrides", "negative", "suffix", "guidance"),
    [
        (["sampler=plain"], "", None, 7.5),
        (["sampler=plain", "trainer=cdl"], "", " without XX noisy pattern", 7.5),
        (
            ["sampler=quality", "trainer=cdl"],
            f"XX noisy pattern, {NEGATIVE}",
            " without XX noisy pattern",
            7.5,
        ),
        (["sampler=quality"], f"XX noisy pattern, {NEGATIVE}", None, 7.5),
        (["sampler=plain/legacy", "prompts=legacy"], "", ", without bhj noisy pattern", 6.5),
        (
            ["sampler=quality/legacy", "prompts=legacy"],
            "noisy, lowres, artifact, pattern",
            ", without bhj noisy pattern",
            6.5,
        ),
    ],
)
def test_texts(overrides: list[str], negative: str, suffix: str | None, guidance: float) -> None:
    """The prompts of the paper and those of the released code."""
    node = config.compose(["zoo=full", *overrides]).sampler
    assert list(node.prompts) == ["a photo of sks person", "a smiling photo of sks person"]
    assert (node.negative_prompt, node.suffix, node.guidance) == (negative, suffix, guidance)


def test_the_full_zoo_samples_as_the_paper_says() -> None:
    node = config.compose(["zoo=full"]).sampler
    assert (node.images, node.steps, node.solver) == (16, 100, "checkpoint")


def test_guidance_is_eq_6(model: LatentDiffusion) -> None:
    z = DRAWS.normal("z", model.latent_shape, 2)
    t = torch.tensor([400, 400])
    context, negative = (model.encode_prompt([text]) for text in ("a", "noisy"))
    conditional, away = (model.predict(z, t, c) for c in (context, negative))
    eps = guided(model, z, t, context, negative, 7.5)
    torch.testing.assert_close(eps, 8.5 * conditional - 7.5 * away, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(guided(model, z, t, context, negative, 0), conditional)


@pytest.mark.parametrize("folder", ["tiny_ldm_folder", "tiny_v_ldm_folder"])
@pytest.mark.parametrize("solver", ["checkpoint", "dpm++"])
def test_images_are_those_of_the_pipeline(
    folder: str, solver: str, request: pytest.FixtureRequest
) -> None:
    """w = 7.5 is guidance_scale 8.5."""
    path = request.getfixturevalue(folder)
    model = ldm.load(weights=f"file:{path}")
    pipeline = StableDiffusionPipeline.from_pretrained(path, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    if solver == "dpm++":
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    expected = pipeline(
        ["b with noise"] * 2,
        negative_prompt=["low quality"] * 2,
        num_inference_steps=4,
        guidance_scale=8.5,
        latents=DRAWS.normal("latents", model.latent_shape, 2, step=1),
        output_type="pt",
    ).images
    ours = sampler(
        model, images=2, suffix=" with noise", negative_prompt="low quality", solver=solver
    )(model, DRAWS)[1]
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-3)


def test_draws_depend_on_prompt_and_sample_only(model: LatentDiffusion) -> None:
    torch.manual_seed(1)
    a, b = sampler(model)(model, DRAWS)
    torch.manual_seed(2)
    alone = sampler(model, prompts=["a"], micro_batch=2)(model, DRAWS)[0]
    assert a.shape == (3, 3, 32, 32) and a.min() >= 0 and a.max() <= 1
    torch.testing.assert_close(alone, a, atol=1e-5, rtol=1e-4)
    assert not torch.equal(a[0], a[1]) and not torch.equal(a, b)


@pytest.mark.parametrize("solver", ["ddim", "pndm", "dpm++"])
def test_a_solver_costs_one_pass_per_step(model: LatentDiffusion, solver: str) -> None:
    steps = sampler(model, solver=solver, steps=5).new_solver(model).timesteps
    assert len(steps) == (6 if solver == "pndm" else 5)  # PNDM repeats its first step once


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"images": 0}, {"prompts": []}, {"guidance": -1}, {"prompts": ["a", "a"]}],
)
def test_senseless_values_are_refused(change: dict, model: LatentDiffusion) -> None:
    with pytest.raises(ValueError):
        sampler(model, **change)
