"""Stage: the square around the face of each of a person's photos, at the photo's own scale."""

from pathlib import Path
from typing import Any

from diffshortcut.config.config import build
from diffshortcut.data.person import SETS
from diffshortcut.pictures.images import center_square, read, write_folder
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write <set>/<name>.png of every picture. `config`: crop.

    A set_A that is set_B is left out. Facts: `no_face`, the files that got their center square.
    """
    person = inputs.person
    assert person is not None
    crop, no_face = build(config["crop"], "crop"), []
    for name in SETS[1:] if person.one_set else SETS:
        for path in getattr(person, name):
            photo = read(path)
            if found := crop.find(photo):
                top, left, side = found
                square = photo[:, top : top + side, left : left + side]
            else:
                square = center_square(photo)
                no_face.append(f"{name}/{path.name}")
            write_folder(out / name, square[None], [path.name])
    return {"no_face": no_face}
