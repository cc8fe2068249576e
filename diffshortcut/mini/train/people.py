"""The people of `data=portraits`: `python -m diffshortcut.mini.train.people [--people N]`.

Twelve photos each, split as Anti-DreamBooth does: four to know the person by (set_A), four to
protect (set_B), four to compare with (set_C). Shipped: 16 people; more, or the development people
on whom settings may be tuned, are drawn by `make mini-data`.
"""

import argparse
from pathlib import Path

from PIL import Image

from diffshortcut.data.person import SETS
from diffshortcut.mini.train.corpus import shoot
from diffshortcut.progress import track

SHIPPED, DEVELOPMENT = range(16), range(100, 132)
DATA = Path(__file__).parent.parent / "portraits_data"


def write(person: int, folder: Path, work: Path) -> None:
    """Twelve clean photos of a person as PNG in three sets of four."""
    for view in range(12):
        path = folder / f"person_{person:03d}" / SETS[view // 4] / f"{view:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shoot(work, person, view).image).save(path, optimize=True)


def main() -> None:
    """Draw the shipped people, the development people, or the first N."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=len(SHIPPED))
    parser.add_argument("--development", action="store_true")
    parser.add_argument("--folder", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=Path("build/mini"))
    arguments = parser.parse_args()
    people = DEVELOPMENT if arguments.development else range(arguments.people)
    for person in track(people, "draw people"):
        write(person, arguments.folder, arguments.work)


if __name__ == "__main__":
    main()
