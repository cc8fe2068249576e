"""Generating and scoring beside diffusers' pipeline and scores taken picture by picture."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from diffshortcut.bench import published_sampling
from diffshortcut.bench.cell import AT_ONCE, Cell
from diffshortcut.bench.pairs import Effort, Side, compare
from diffshortcut.bench.records import Job, Pair
from diffshortcut.data.person import Person

PART = "sampling"
GOAL = 3.0
BOTH, CLASSES = "sampling + metrics", "class pictures"
PIPELINE, BATCHED = "diffusers, a picture per call", "diffusers, num_images_per_prompt"
CLASS_IMAGES = 8  # that are measured
FEW = ("sampler.steps=2", "prior.steps=2")  # which hold as much as many
Sides: TypeAlias = tuple[Callable[[], object], Callable[[], object]]


def both(cell: Cell) -> Sides:
    """From the weights to the scores."""
    return lambda: cell.scored(cell.sampled()), lambda: cell.score(cell.generate())


def one_by_one(cell: Cell) -> Sides:
    """From the weights to the pictures."""
    return cell.sampled, cell.generate


def whole_prompts(cell: Cell) -> Sides:
    """The same, with a call of the pipeline per prompt."""
    return partial(cell.sampled, published_sampling.whole_prompts), cell.generate


def metrics(cell: Cell) -> Sides:
    """From our pictures to the scores."""
    folder = cell.generate()
    paths = sorted((folder / "images").iterdir())
    return partial(cell.scored, paths), partial(cell.score, folder)


def classes(cell: Cell) -> Sides:
    """From the base model to pictures of the class."""
    return partial(cell.sampled_classes, CLASS_IMAGES), partial(cell.classes, CLASS_IMAGES)


CASES: list[tuple[str, str, Callable[[Cell], Sides]]] = [
    (BOTH, "picture by picture", both),
    ("sampling", PIPELINE, one_by_one),
    ("sampling", BATCHED, whole_prompts),
    ("metrics", "picture by picture", metrics),
    (CLASSES, f"diffusers, {AT_ONCE} at once", classes),
]


def jobs(person: Person, effort: Effort, overrides: Sequence[str] = ()) -> dict[str, Job]:
    """Both stages together, each for itself, and pictures of the class."""
    return {
        f"{name}, {beside}": partial(_measured, name, beside, sides, person, effort, overrides)
        for name, beside, sides in CASES
    }


def _measured(
    name: str,
    beside: str,
    sides: Callable[[Cell], Sides],
    person: Person,
    effort: Effort,
    overrides: Sequence[str],
) -> list[Pair]:
    goal = GOAL if name == BOTH else None
    with TemporaryDirectory() as root, TemporaryDirectory() as other:
        theirs, ours = map(Side.whole, sides(Cell(person, Path(root), overrides)))
        short = sides(Cell(person, Path(other), (*overrides, *FEW)))
        more = {"beside": beside, "goal": goal}
        return compare(PART, name, theirs, ours, effort, weighed=short, **more)
