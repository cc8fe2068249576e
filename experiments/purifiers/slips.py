"""What each slip of the released baselines does to a picture, alone and all together: slips.png.

    python -m experiments.purifiers.slips   # five minutes of one thread

One picture of one person with random signs of 11 levels on it, so a look and no result.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffshortcut.bench.scenes import purified, scene
from diffshortcut.config import config
from diffshortcut.config.schema import own
from diffshortcut.data import portraits
from diffshortcut.metrics.faithfulness import psnr
from diffshortcut.pictures.images import quantize
from diffshortcut.report import figures
from diffshortcut.seeding import Draws

HERE = Path(__file__).parent
TILE = 1.7  # inches
SLIPS: dict[str, Sequence[str]] = {  # keys of a link
    "right": (),
    "pictures in [0, 1]": ("diffpure.unit_range=true",),
    "250 timesteps": ("diffpure.respacing=250",),
    "last step left out": ("diffpure.skip_last=true",),
    "bytes that wrap": ("storage=wrapped",),
}
METHODS = {  # the link that has them, and the preset that has all
    "pixel_diffpure/tiled": ("pixel_diffpure", "pixel_diffpure/legacy"),
    "ddspure": ("ddspure", "ddspure/legacy"),
    "gridpure": ("gridpure", "gridpure/legacy"),
}
Row = Mapping[str, Tensor]  # title -> (1, 3, h, w)


def main() -> None:
    """Purify, and draw."""
    torch.set_num_threads(1)
    [person] = portraits.people(people=1)
    seen = scene(person)
    clean = seen.images[:1]
    noise = config.resolve(config.compose(["attack=random"]))["attack"]
    drawn = config.build(own(noise), "attack")(seen, Draws(0, "protect", person.name))
    noisy = quantize(drawn[:1])

    def through(name: str, *overrides: str) -> Tensor:
        cfg = config.resolve(config.compose([f"purifier={name}", *overrides]))
        return purified(cfg["purifier"], noisy, Draws(0, "purify", person.name))

    rows: list[Row] = [
        {"clean": clean, "with noise": noisy, "pixel_diffpure, whole": through("pixel_diffpure")}
    ]
    for name, (link, released) in METHODS.items():
        found = {
            slip: through(name, *(f"purifier.{link}.{key}" for key in keys))
            for slip, keys in SLIPS.items()
        }
        right = {f"{name}: right": found.pop("right")}
        rows.append({**right, **found, "as released": through(released)})
    size = (TILE * (len(SLIPS) + 1), (TILE + 0.35) * len(rows))
    figures.save(lambda figure: draw(figure, rows, clean), "slips", HERE, size, kinds=("png",))


def draw(figure: Any, rows: Sequence[Row], clean: Tensor) -> None:
    """Pictures with their titles, and how far from the clean one they are."""
    panels = figure.subplots(len(rows), max(map(len, rows)))
    for axes in panels.flat:
        axes.set_axis_off()
    for line, row in zip(panels, rows, strict=True):
        for axes, (title, picture) in zip(line, row.items(), strict=False):
            far = "" if title == "clean" else f"\n{psnr(picture, clean).item():.1f} dB"
            axes.imshow(picture[0].permute(1, 2, 0))
            axes.set_title(title + far, fontsize=8)


if __name__ == "__main__":
    main()
