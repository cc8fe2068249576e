"""Stage: one link of the purification."""

from pathlib import Path
from typing import Any

from torch import Tensor

from diffshortcut.config import build
from diffshortcut.errors import UserError
from diffshortcut.images import files, read_files, write_folder
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write the purified images under the names of those read. `config`: link.

    UserError if the link gives anything but images of the same number and size.
    """
    paths = files(inputs.artifacts["images"] / "images")
    images = read_files(paths)
    purified = build(config["link"], "purifier")(images, draws)
    if not isinstance(purified, Tensor) or purified.shape != images.shape:
        found = tuple(purified.shape) if isinstance(purified, Tensor) else type(purified).__name__
        raise UserError(f"the purifier gave {found}, not images {tuple(images.shape)}")
    write_folder(out / "images", purified, [path.name for path in paths])
    return {}
