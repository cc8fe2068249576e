"""Stage: one link of the purification."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffshortcut.config import build
from diffshortcut.errors import UserError
from diffshortcut.images import files, quantize, read_files, write_folder
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs

LEVELS = 255
ROUNDING = 0.1  # mean difference in levels that a batch of another size may make


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write the purified images under the names of those read. `config`: link.

    Facts: whether no image was changed, and whether other draws give another first image.
    UserError if the link gives anything but images of the same number and size.
    """
    paths = files(inputs.artifacts["images"] / "images")
    images = read_files(paths)
    link = build(config["link"], "purifier")
    purified = _purified(link, images, draws)
    write_folder(out / "images", purified, [path.name for path in paths])
    again = _purified(link, images[:1], draws.scope("again"))
    difference = (quantize(again) - quantize(purified[:1])).abs().mean() * LEVELS
    return {
        "unchanged": torch.equal(quantize(purified), images),
        "random": bool(difference > ROUNDING),
    }


def _purified(link: Callable[[Tensor, Draws], Tensor], images: Tensor, draws: Draws) -> Tensor:
    purified = link(images, draws)
    if not isinstance(purified, Tensor) or purified.shape != images.shape:
        found = tuple(purified.shape) if isinstance(purified, Tensor) else type(purified).__name__
        raise UserError(f"the purifier gave {found}, not images {tuple(images.shape)}")
    return purified
