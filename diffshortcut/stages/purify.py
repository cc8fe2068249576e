"""Stage: one link of the purification."""

from pathlib import Path
from typing import Any

from diffshortcut.config import build
from diffshortcut.images import files, read_files, write_folder
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write the purified images under the names of those read. `config`: link."""
    paths = files(inputs.artifacts["images"] / "images")
    purified = build(config["link"], "purifier")(read_files(paths), draws)
    write_folder(out / "images", purified, [path.name for path in paths])
    return {}
