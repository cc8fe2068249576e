"""Stage: add the protective perturbation to set_B, and measure what it does."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffshortcut.attacks.random_noise import RandomNoise
from diffshortcut.attacks.scene import Scene
from diffshortcut.config import build
from diffshortcut.errors import UserError
from diffshortcut.images import quantize, read_files, read_folder, write_folder
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs

LEVELS = 255
HELD_OUT = 64  # draws of (timestep, noise) per image, never used by an attack


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write images/<name of set_B>.png and facts.json. `config`: attack, resolution.

    The held-out loss is that of the model the attack starts from. UserError if an image is not
    finite or leaves the ball of the attack's radius on disk.
    """
    scene = _scene(inputs, config["resolution"])
    attack = build(config["attack"], "attack")
    paths = write_folder(out / "images", attack(scene, draws), scene.names)
    protected = read_files(paths)
    facts = perturbation(protected, scene, getattr(attack, "radius", None))
    if (surrogate := getattr(attack, "surrogate", None)) is not None:
        noisy = RandomNoise(radius=attack.radius)(scene, draws.scope("held-out"))
        versions = {"clean": scene.images, "protected": protected, "random": quantize(noisy)}
        facts["loss"] = {
            name: held_out_loss(surrogate, attack.instance_prompt, images, draws)
            for name, images in versions.items()
        }
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
        "max": int(largest.max()),
        "mean": float(delta.mean()),
        "at_bound": None if radius is None else float((delta == int(radius)).float().mean()),
        "psnr": None if error == 0 else float(-10 * torch.tensor(error).log10()),
    }


@torch.no_grad()
def held_out_loss(model: LatentDiffusion, prompt: str, images: Tensor, draws: Draws) -> float:
    """Mean Eq. 1 over the images and HELD_OUT fixed draws of timestep, noise and posterior."""
    context = model.encode_prompt([prompt])
    draws, total = draws.scope("held-out"), 0.0
    for index, image in enumerate(images):
        mean, std = model.posterior(image[None])
        shape, steps = mean.shape[1:], range(HELD_OUT)
        z = model.reparameterize(mean, std, _over(steps, draws, "posterior", shape, index))
        noise = _over(steps, draws, "noise", shape, index)
        t = torch.cat([draws.integers("timestep", model.num_timesteps, [index], k) for k in steps])
        total += float(model.denoising_loss(z, context, t, noise).mean())
    return total / len(images)


def _over(steps: range, draws: Draws, purpose: str, shape: torch.Size, image: int) -> Tensor:
    return torch.cat([draws.normal(purpose, shape, [image], step) for step in steps])


def _scene(inputs: Inputs, size: int) -> Scene:
    person = inputs.person
    assert person is not None
    prior = inputs.artifacts.get("prior")
    return Scene(
        images=quantize(read_files(person.set_B, size)),
        clean=quantize(read_files(person.set_A, size)),
        prior=read_folder(prior / "images") if prior else None,
        names=tuple(path.name for path in person.set_B),
    )
