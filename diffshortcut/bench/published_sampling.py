"""Sampling as it is published, plainly: what `make bench` measures our `generate` stage beside.

diffusers' own StableDiffusionPipeline, of the same weights, solver, steps and latents as ours, so
that the pictures are equal but for rounding. With guidance it passes both branches at once. The
number in brackets is the section of the notes on the releases, which are not in this repository.
This file was written before anything was measured with it, and stays as it is.
"""

from collections.abc import Iterator
from pathlib import Path

from diffusers import StableDiffusionPipeline
from PIL.Image import Image
from torch import Tensor

from diffshortcut.export import pipeline
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.samplers.classifier_free import ClassifierFree
from diffshortcut.seeding import Draws


def one_by_one(
    sampler: ClassifierFree, model: LatentDiffusion, draws: Draws, folder: Path
) -> list[Path]:
    """The pipeline is called for every picture, and each is written as a PNG [4.3: batch 1]."""
    return _sampled(sampler, model, draws, folder, 1)


def whole_prompts(
    sampler: ClassifierFree, model: LatentDiffusion, draws: Draws, folder: Path
) -> list[Path]:
    """The pipeline is called for every prompt, with num_images_per_prompt."""
    return _sampled(sampler, model, draws, folder, sampler.images)


def _sampled(
    sampler: ClassifierFree, model: LatentDiffusion, draws: Draws, folder: Path, batch: int
) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    pipe, written = _pipeline(sampler, model), []
    for index, text in enumerate(sampler.conditions):
        latents = draws.normal("latents", model.latent_shape, sampler.images, step=index)
        found = (image for z in latents.split(batch) for image in _call(pipe, sampler, text, z))
        for sample, image in enumerate(found):
            written.append(folder / f"{index}-{sample:02d}.png")
            image.save(written[-1])
    return written


def _pipeline(sampler: ClassifierFree, model: LatentDiffusion) -> StableDiffusionPipeline:
    pipe = pipeline(model)
    pipe.scheduler = sampler.new_solver(model)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _call(
    pipe: StableDiffusionPipeline, sampler: ClassifierFree, text: str, z: Tensor
) -> Iterator[Image]:
    yield from pipe(
        text,
        negative_prompt=sampler.negative_prompt,
        num_inference_steps=sampler.steps,
        guidance_scale=sampler.guidance + 1,  # w of Eq. 6, in diffusers' convention
        num_images_per_prompt=len(z),
        latents=z,
    ).images
