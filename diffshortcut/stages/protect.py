"""Stage: add the protective perturbation to set_B, and measure what it does."""

import json
import logging
from collections.abc import Sequence
from math import log10
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from diffshortcut import flags
from diffshortcut.attacks.eot import EoT
from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.random_noise import RandomNoise
from diffshortcut.attacks.scene import Scene, View
from diffshortcut.config.config import build
from diffshortcut.errors import UserError
from diffshortcut.pictures import squares
from diffshortcut.pictures.images import (
    LEVELS,
    batches,
    quantize,
    read,
    read_files,
    read_folder,
    require_like,
    write_folder,
)
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs

log = logging.getLogger(__name__)
HELD_OUT = 64  # draws per image
UNSEEN = 10**6  # the first of the steps that they are of; no attack takes as many
COPIES = 11  # of the batch that an ascent holds at once, as measured
MUCH = 4e9  # bytes of memory


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write images/<name of set_B>.png and facts.json. `config`: attack, resolution, full_size.

    Images are the models' size. With `full_size` they are their own, and what lies outside of the
    center square, which is all that models see, is not changed. UserError if the attack gives
    anything but images of the same number and size, if one is not finite or leaves the ball of the
    attack's radius on disk.
    """
    assert inputs.person is not None
    size, full_size = config["resolution"], config.get("full_size", False)
    photos = [quantize(read(path, None if full_size else size)) for path in inputs.person.set_B]
    scene = _scene(inputs, photos, size, full_size=full_size)
    _warn_of_memory(scene.images)
    attack = build(config["attack"], "attack")
    made = require_like(attack(scene, draws), scene.images, "attack")
    perturbed = squares.put_back(made, photos)
    paths = write_folder(out / "images", perturbed, scene.names)
    protected = [read(path) for path in paths]
    radius = getattr(attack, "radius", None)
    ball = None if radius is None or radius >= LEVELS else radius
    facts = perturbation(protected, photos, scene.names, ball)
    if hasattr(attack, "objective") and (radius or 0) > 0:
        seen, size_of_noise = squares.stack(protected), facts["max"] if ball is None else ball
        each = own_objective(attack, scene, seen, draws, size_of_noise)
        facts["objective"] = {version: fmean(values) for version, values in each.items()}
        facts["objective_of"] = {
            photo: {version: values[i] for version, values in each.items()}
            for i, photo in enumerate(scene.names)
        }
    facts["steps"] = scene.record.steps
    facts["no_slope"] = [scene.names[i] for i in scene.record.never_steep()]
    facts["no_set_A"] = getattr(attack, "learns_set_A", False) and inputs.person.one_set
    facts["flags"] = flags.of_attack(facts)
    (out / "facts.json").write_text(json.dumps(facts, allow_nan=False, indent=1) + "\n")
    return facts


def perturbation(
    protected: Sequence[Tensor],
    originals: Sequence[Tensor],
    names: Sequence[str],
    radius: float | None,
) -> dict[str, Any]:
    """Size of the perturbation in 8-bit levels, PSNR in dB (None of equal images).

    Photos (3, h, w) of any size, each measured over all of its own pixels; means are taken over a
    photo, then over the photos. UserError naming the first image whose perturbation is larger than
    `radius`.
    """
    measured = []
    for name, after, before in zip(names, protected, originals, strict=True):
        delta = ((after - before) * LEVELS).round().abs()
        largest = int(delta.max())
        if radius is not None and largest > radius:
            raise UserError(f"{name}: changed by {largest} levels, radius {radius}")
        at_bound = 0.0 if radius is None else float((delta == int(radius)).float().mean())
        measured.append((largest, float(delta.mean()), at_bound, float(delta.square().mean())))
    largest_of_all = max(row[0] for row in measured)
    mean, at_bound, error = torch.tensor([row[1:] for row in measured]).double().mean(0).tolist()
    return {
        "radius": radius,
        "max": largest_of_all,
        "mean": mean,
        "at_bound": None if radius is None else at_bound,
        "psnr": None if error == 0 else -10 * log10(error / LEVELS**2),
    }


def _warn_of_memory(batch: Tensor) -> None:
    """Say it before the system ends the process without a word."""
    if (needed := COPIES * batch.nbytes) > MUCH:
        side = batch.shape[-1]
        log.warning(
            "%d photos of up to %d x %d pixels need about %.0f GB of memory: protect fewer at once,"
            " or smaller ones",
            len(batch),
            side,
            side,
            needed / 1e9,
        )


def own_objective(
    attack: Any, scene: Scene, protected: Tensor, draws: Draws, noise: float
) -> dict[str, list[float]]:
    """What the attack raises, its transforms included, of clean images, protected ones and noise.

    That is random, of `noise` levels. `draws` are the attack's own, so that it is asked about what
    it pulled towards; the steps, and with them timesteps and noises, are held out.
    """
    noisy = quantize(RandomNoise(radius=noise)(scene, draws.scope("held-out")))
    eot = getattr(attack, "eot", None) or EoT()
    loss = eot.of(attack.objective(scene, draws), draws)
    versions = {"clean": scene.images, "protected": protected, "random": noisy}
    count = getattr(attack, "held_out_draws", HELD_OUT)
    return {
        name: held_out(loss, scene.seen(images), count, getattr(attack, "micro_batch", None))
        for name, images in versions.items()
    }


@torch.no_grad()
def held_out(loss: Loss, images: Tensor, count: int, micro_batch: int | None = None) -> list[float]:
    """Of each image (n, 3, h, w) the mean of a loss over the draws of `count` steps.

    `micro_batch` images are held in memory at once.
    """
    parts = list(batches(len(images), micro_batch))
    steps = range(UNSEEN, UNSEEN + count)
    values = [torch.cat([loss(images[i.start : i.stop], i, s) for i in parts]) for s in steps]
    return torch.stack(values).mean(0).tolist()


def _scene(inputs: Inputs, photos: list[Tensor], size: int, *, full_size: bool) -> Scene:
    person = inputs.person
    assert person is not None
    prior = inputs.artifacts.get("prior")
    return Scene(
        images=squares.stack(photos),
        clean=quantize(read_files(person.set_A, size)),
        prior=read_folder(prior / "images", size) if prior else None,
        names=tuple(path.name for path in person.set_B),
        personalized=inputs.artifacts.get("personalized"),
        view=View(size, squares.sides(photos)) if full_size else None,
        checkpoint=inputs.checkpoint,
    )
