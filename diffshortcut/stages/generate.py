"""Stage: ask the personalized model for images."""

import json
from pathlib import Path
from typing import Any

from diffshortcut.config.config import build
from diffshortcut.pictures.images import write_folder
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write images/<prompt index>-<sample index>.png and prompts.json. `config`: sampler."""
    sampler = build(config["sampler"], "sampler")
    model = sampler.model.with_weights(inputs.artifacts["model"])
    for index, images in enumerate(sampler(model, draws)):
        digits = max(2, len(str(len(images) - 1)))  # in the order of the draws, sorted as text
        names = [f"{index}-{sample:0{digits}d}.png" for sample in range(len(images))]
        write_folder(out / "images", images, names)
    texts = {
        "prompts": list(sampler.prompts),
        "conditions": sampler.conditions,
        "negative_prompt": sampler.negative_prompt,
    }
    (out / "prompts.json").write_text(json.dumps(texts, indent=1) + "\n")
    return {}
