"""Stage: one link of the purification."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffshortcut.config import build
from diffshortcut.errors import UserError
from diffshortcut.images import files, quantize, read, read_files, resize, write_folder
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs

LEVELS = 255
Link = Callable[[Tensor, Draws], Tensor]
ROUNDING = 0.1  # mean difference in levels that a batch of another size may make


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write the purified images under the names of those read. `config`: link, resolution.

    With `resolution` images are photos of any size, one purified after the other: shrunk until
    their shorter side is so long, if it is longer, and enlarged to their size again.
    Facts: whether no image was changed, and unless they are photos whether other draws give another
    first image. What a link notes of its steps is in log.jsonl, the last note in the facts.
    UserError if the link gives anything but images of the same number and size.
    """
    paths = files(inputs.artifacts["images"] / "images")
    link = build(config["link"], "purifier")
    side = config.get("resolution")
    images = [read(path)[None] for path in paths] if side else [read_files(paths)]
    purified, notes = [], []
    for number, batch in enumerate(images):
        purified.append(_fitted(link, batch, draws.from_image(number), side))
        notes += [{"batch": number, **row} for row in getattr(link, "history", [])]
        getattr(link, "history", []).clear()
    made = [image for batch in purified for image in batch]
    write_folder(out / "images", made, [path.name for path in paths])
    pairs = list(zip(purified, images, strict=True))
    facts: dict[str, Any] = {"unchanged": all(torch.equal(quantize(a), b) for a, b in pairs)}
    if notes:
        lines = [json.dumps(note, allow_nan=False) for note in notes]
        (out / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
        facts["last"] = notes[-1]
    if side is None:
        again = _purified(link, images[0][:1], draws.scope("again"))
        difference = (quantize(again) - quantize(purified[0][:1])).abs().mean() * LEVELS
        facts["random"] = bool(difference > ROUNDING)
    return facts


def _fitted(link: Link, images: Tensor, draws: Draws, side: int | None) -> Tensor:
    """Purified at a size that models can take, back at the images' own."""
    height, width = images.shape[-2:]
    shorter = min(height, width)
    if side is None or shorter <= side:
        return _purified(link, images, draws)
    small = (round(height * side / shorter), round(width * side / shorter))
    return resize(_purified(link, resize(images, small), draws), (height, width))


def _purified(link: Link, images: Tensor, draws: Draws) -> Tensor:
    purified = link(images, draws)
    if not isinstance(purified, Tensor) or purified.shape != images.shape:
        found = tuple(purified.shape) if isinstance(purified, Tensor) else type(purified).__name__
        raise UserError(f"the purifier gave {found}, not images {tuple(images.shape)}")
    return purified
