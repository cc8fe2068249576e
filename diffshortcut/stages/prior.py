"""Stage: images of the class by the base model, for prior preservation; once for all people."""

from pathlib import Path
from typing import Any

from torch import Tensor

from diffshortcut.config.config import build
from diffshortcut.pictures.images import write_folder
from diffshortcut.samplers.classifier_free import ClassifierFree
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write images/NN.png. `config`: model, prompt, images, steps, guidance, micro_batch."""
    images = sample(config, draws)
    digits = len(str(len(images) - 1))
    write_folder(out / "images", images, [f"{i:0{digits}d}.png" for i in range(len(images))])
    return {}


def sample(config: dict[str, Any], draws: Draws) -> Tensor:
    """The images (n, 3, h, w) in [0, 1]."""
    model = build(config["model"])
    sampler = ClassifierFree(
        model=model,
        prompts=[config["prompt"]],
        images=config["images"],
        steps=config["steps"],
        guidance=config["guidance"],
        micro_batch=config.get("micro_batch"),
    )
    (images,) = sampler(model, draws)
    return images
