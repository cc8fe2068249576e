"""Stage: one link of the purification."""

import json
import time
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffshortcut.config import config as configs
from diffshortcut.config.config import build
from diffshortcut.errors import UserError
from diffshortcut.links import kind, scope
from diffshortcut.pictures.images import (
    LEVELS,
    files,
    quantize,
    read,
    read_files,
    require_like,
    resize,
    write_folder,
)
from diffshortcut.purifiers.purifier import Noting, Purifier
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs

ROUNDING = 0.1  # mean difference in levels that a batch of another size may make


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write the purified images under the names of those read.

    `config`: link, `resolution` of photos, `number` of a link that is not the first of its class.
    With `resolution` images are photos of any size, one after the other: for a link that `shrinks`
    until their shorter side is so long, if it is longer, and enlarged again.
    Facts: whether no image was changed, the seconds of the purification alone, without loading, and
    unless they are photos whether other draws give another first image. What a link notes of its
    steps is in log.jsonl, the last note of all images, or of each photo, in the facts.
    UserError if the link gives anything but images of the same number and size.
    """
    paths = files(inputs.artifacts["images"] / "images")
    link = build(config["link"], "purifier")
    draws = of_link(config["link"], draws, config.get("number", 1))
    side = config.get("resolution")
    if side is not None:
        return _photos(link, paths, out, draws, side if shrinks(link, config["link"]) else None)
    images = read_files(paths)
    start = time.perf_counter()
    purified = _purified(link, images, draws)
    seconds = time.perf_counter() - start
    write_folder(out / "images", purified, [path.name for path in paths])
    facts = _facts(torch.equal(quantize(purified), images), seconds, last=_noted(link, out))
    again = _purified(link, images[:1], draws.scope("again"))
    difference = (quantize(again) - quantize(purified[:1])).abs().mean() * LEVELS
    return {**facts, "random": bool(difference > ROUNDING)}


def of_link(link: dict[str, Any], draws: Draws, number: int = 1) -> Draws:
    """A link's own draws: two of a chain add no equal noise, two arms with one link do.

    `number` counts the links of one class in a chain, from 1.
    """
    return draws.scope(scope(kind(link), number))


def shrinks(link: Purifier, node: dict[str, Any]) -> bool:
    """Whether a link takes photos at the models' side: it has a model, or says `at_model_size`."""
    return bool(configs.references(node)) or getattr(link, "at_model_size", False)


def _photos(
    link: Purifier, paths: Sequence[Path], out: Path, draws: Draws, side: int | None
) -> dict[str, Any]:
    """One photo in memory at a time; its draws go by its name, whatever others there are."""
    unchanged, seconds, lasts = True, 0.0, {}
    for path in paths:
        image = read(path)[None]
        start = time.perf_counter()
        purified = _fitted(link, image, draws.scope(path.name), side)
        seconds += time.perf_counter() - start
        write_folder(out / "images", purified, [path.name])
        unchanged = unchanged and torch.equal(quantize(purified), image)
        lasts[path.name] = _noted(link, out, photo=path.name)
    return _facts(unchanged, seconds, photos={name: last for name, last in lasts.items() if last})


def _facts(unchanged: bool, seconds: float, **notes: dict[str, Any]) -> dict[str, Any]:
    kept = {name: note for name, note in notes.items() if note}
    return {"unchanged": unchanged, "purification_seconds": round(seconds, 3), **kept}


def _fitted(link: Purifier, images: Tensor, draws: Draws, side: int | None) -> Tensor:
    """Purified at a size that models can take, back at the images' own."""
    height, width = images.shape[-2:]
    shorter = min(height, width)
    if side is None or shorter <= side:
        return _purified(link, images, draws)
    small = (round(height * side / shorter), round(width * side / shorter))
    return resize(_purified(link, resize(images, small), draws), (height, width))


def _noted(link: Purifier, out: Path, **of: str) -> dict[str, float]:
    """Append the notes of a link's call, with what they are of, to log.jsonl; the last one."""
    if not isinstance(link, Noting) or not link.history:
        return {}
    with (out / "log.jsonl").open("a") as stream:
        stream.writelines(f"{line}\n" for line in _lines(link.history, of))
    return dict(link.history[-1])


def _lines(notes: Sequence[dict[str, float]], of: dict[str, str]) -> Iterator[str]:
    for note in notes:
        for name, value in note.items():
            if not isfinite(value):
                where = ", ".join([*of.values(), f"step {note['step']}"])
                raise UserError(f"{where}: {name} is {value}")
        yield json.dumps({**of, **note})


def _purified(link: Purifier, images: Tensor, draws: Draws) -> Tensor:
    return require_like(link(images, draws), images, "purifier")
