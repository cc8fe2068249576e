"""The artists of `data=paintings`: `python -m diffshortcut.mini.train.paintings`.

An artist is one picture style with parameters and colors of his own, applied to portraits of
people who are in no other data set, every work of another person. Eight works are in train, four
in test, each with a caption in metadata.jsonl, as WikiArt's artists are laid out.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from diffshortcut.mini.portraits.captions import caption
from diffshortcut.mini.portraits.style import GREY, stylize
from diffshortcut.mini.train.corpus import shoot
from diffshortcut.progress import track

WORKS, TRAIN = 12, 8
SITTERS = range(200, 296)  # seeds of the people, WORKS of each artist
COLORS = 128  # of a file: a palette keeps the data small
DATA = Path(__file__).parent.parent / "paintings_data"


@dataclass(frozen=True, kw_only=True)
class Artist:
    """A style of `STYLES`, the seed of its parameters, and what becomes of the colors.

    `saturation` multiplies the distance of a color from its grey, `tint` the color itself.
    """

    name: str
    style: str
    seed: int
    saturation: float
    tint: tuple[float, float, float]

    def paint(self, photo: np.ndarray, work: int) -> np.ndarray:
        """The photo (h, w, 3) in [0, 1] in the artist's hand."""
        free = self.style == "brush strokes"  # has no parameters: its draws are the strokes
        rng = np.random.default_rng([self.seed, work if free else 0])
        picture = stylize(photo, self.style, rng)
        grey = (picture @ GREY)[..., None]
        return ((grey + self.saturation * (picture - grey)) * np.array(self.tint)).clip(0, 1)


ARTISTS = (
    Artist(name="brush_amber", style="brush strokes", seed=0, saturation=0.9, tint=(1, 0.86, 0.62)),
    Artist(name="brush_teal", style="brush strokes", seed=1, saturation=0.7, tint=(0.7, 0.95, 1)),
    Artist(name="dots_color", style="halftone", seed=0, saturation=1.0, tint=(1, 1, 1)),
    Artist(name="dots_grey", style="halftone", seed=1, saturation=1.0, tint=(1, 1, 1)),
    Artist(name="flat_pale", style="flat colors", seed=0, saturation=0.5, tint=(1, 0.97, 0.9)),
    Artist(name="flat_vivid", style="flat colors", seed=1, saturation=1.6, tint=(1, 1, 1)),
    Artist(name="line_ink", style="line drawing", seed=0, saturation=0.0, tint=(1, 1, 1)),
    Artist(name="line_sepia", style="line drawing", seed=1, saturation=1, tint=(0.95, 0.8, 0.6)),
)


def write(number: int, folder: Path, work: Path) -> None:
    """All works of ARTISTS[number] as PNG, and their captions."""
    artist = ARTISTS[number]
    texts: dict[str, list[str]] = {"train": [], "test": []}
    for index in range(WORKS):
        part = "train" if index < TRAIN else "test"
        path = folder / artist.name / part / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        sitter = SITTERS[number * WORKS + index]
        shot = shoot(work, sitter, 0)
        levels = artist.paint(shot.image.astype(np.float32) / 255, index) * 255
        picture = Image.fromarray(np.rint(levels).astype(np.uint8))
        picture.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
        rng = np.random.default_rng([sitter, 8])
        text = caption(shot.attributes, rng, style=artist.style)
        texts[part].append(json.dumps({"file_name": path.name, "text": text}))
    for part, lines in texts.items():
        file = folder / artist.name / part / "metadata.jsonl"
        file.write_text("".join(f"{line}\n" for line in lines))


def main() -> None:
    """Draw all artists' works."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=Path("build/mini"))
    arguments = parser.parse_args()
    for number in track(range(len(ARTISTS)), "draw artists"):
        write(number, arguments.folder, arguments.work)


if __name__ == "__main__":
    main()
