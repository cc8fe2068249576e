"""Stage: add the protective perturbation to set_B, and measure what it does."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffshortcut import flags
from diffshortcut.attacks.pgd import Loss
from diffshortcut.attacks.random_noise import RandomNoise
from diffshortcut.attacks.scene import Scene, View
from diffshortcut.config import build
from diffshortcut.errors import UserError
from diffshortcut.images import quantize, read, read_files, read_folder, write_folder
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs

LEVELS = 255
HELD_OUT = 64  # draws per image, never used by an attack


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write images/<name of set_B>.png and facts.json. `config`: attack, resolution, full_size.

    Images are the models' size, or their own with `full_size`. UserError if an image is not finite
    or leaves the ball of the attack's radius on disk.
    """
    assert inputs.person is not None
    scene = _scene(inputs, config["resolution"], full_size=config.get("full_size", False))
    attack = build(config["attack"], "attack")
    perturbed = attack(scene, draws)
    paths = write_folder(out / "images", _cropped(perturbed, scene), scene.names)
    protected = _canvas([read(path) for path in paths])
    facts = perturbation(protected, scene, getattr(attack, "radius", None))
    if hasattr(attack, "objective") and attack.radius > 0:
        facts["objective"] = _objective(attack, scene, protected, draws.scope("held-out"))
    facts["steps"] = len(scene.record.values)
    facts["no_slope"] = [scene.names[i] for i in scene.record.never_steep()]
    facts["no_set_A"] = inputs.person.set_A == inputs.person.set_B
    facts["flags"] = flags.of_attack(facts)
    (out / "facts.json").write_text(json.dumps(facts, allow_nan=False, indent=1) + "\n")
    return facts


def perturbation(protected: Tensor, scene: Scene, radius: float | None) -> dict[str, Any]:
    """Size of the perturbation in 8-bit levels, PSNR in dB (None of equal images).

    UserError naming the first image whose perturbation is larger than `radius`.
    """
    delta = ((protected - scene.images) * LEVELS).round().abs().flatten(1)
    largest = delta.max(dim=1).values
    if radius is not None and (largest > radius).any():
        first = int((largest > radius).nonzero()[0])
        raise UserError(
            f"{scene.names[first]}: changed by {int(largest[first])} levels, radius {radius}"
        )
    error = float((delta / LEVELS).square().mean())
    return {
        "radius": radius,
        "max": int(largest.max()),
        "mean": float(delta.mean()),
        "at_bound": None if radius is None else float((delta == int(radius)).float().mean()),
        "psnr": None if error == 0 else float(-10 * torch.tensor(error).log10()),
    }


def _objective(attack: Any, scene: Scene, protected: Tensor, draws: Draws) -> dict[str, float]:
    """The attack's own objective on held-out draws: clean, protected and equally large noise."""
    noisy = quantize(RandomNoise(radius=attack.radius)(scene, draws))
    loss = attack.objective(scene, draws)
    versions = {"clean": scene.images, "protected": protected, "random": noisy}
    count = getattr(attack, "held_out_draws", HELD_OUT)
    return {name: held_out(loss, scene.seen(images), count) for name, images in versions.items()}


@torch.no_grad()
def held_out(loss: Loss, images: Tensor, count: int = HELD_OUT) -> float:
    """The mean of a loss over images (n, 3, h, w) and the draws of `count` steps."""
    values = [loss(images, range(len(images)), step) for step in range(count)]
    return float(torch.stack(values).mean())


def _scene(inputs: Inputs, size: int, *, full_size: bool) -> Scene:
    person = inputs.person
    assert person is not None
    prior = inputs.artifacts.get("prior")
    photos = [quantize(read(path)) for path in person.set_B] if full_size else []
    sizes = tuple((photo.shape[1], photo.shape[2]) for photo in photos)
    return Scene(
        images=_canvas(photos) if full_size else quantize(read_files(person.set_B, size)),
        clean=quantize(read_files(person.set_A, size)),
        prior=read_folder(prior / "images") if prior else None,
        names=tuple(path.name for path in person.set_B),
        personalized=inputs.artifacts.get("personalized"),
        view=View(size, sizes) if full_size else None,
        checkpoint=inputs.checkpoint,
    )


def _canvas(photos: list[Tensor]) -> Tensor:
    """(n, 3, h, w) of photos (3, h, w) of any size, each in the top left corner."""
    height, width = (max(photo.shape[i] for photo in photos) for i in (1, 2))
    canvas = torch.zeros(len(photos), 3, height, width)
    for place, photo in zip(canvas, photos, strict=True):
        place[:, : photo.shape[1], : photo.shape[2]] = photo
    return canvas


def _cropped(images: Tensor, scene: Scene) -> list[Tensor]:
    """The photos of a canvas."""
    sizes = scene.view.sizes if scene.view else [images.shape[-2:]] * len(images)
    return [image[:, :h, :w] for image, (h, w) in zip(images, sizes, strict=True)]
