"""The training corpus: portraits of people who are never shipped and never evaluated on.

Seeds of people: 0-15 are the shipped people, 100-131 development people, 200-295 the sitters of
the paintings, 1,000 and up the training people, 900,000 and up the people of the gates. A shard is
50 people; shards are written aside and renamed, so an interrupted run goes on where it stopped.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffshortcut.mini.portraits.captions import caption
from diffshortcut.mini.portraits.mesh import HeadMesh
from diffshortcut.mini.portraits.person import Person
from diffshortcut.mini.portraits.render import Shot, render
from diffshortcut.mini.portraits.style import DEGRADATIONS, STYLES, degrade, stylize
from diffshortcut.mini.portraits.view import View
from diffshortcut.progress import track

TRAIN, GATE = 1_000, 900_000
SHARD = 50  # people
STYLED, DEGRADED = 0.15, 0.2  # shares of the corpus


@cache
def mesh(work: Path) -> HeadMesh:
    """The head mesh, extracted once per machine and loaded once per process."""
    return HeadMesh.load(work / "mesh")


def shoot(work: Path, person: int, view: int) -> Shot:
    """One clean photo: `person` seen in its view number `view`, 128 px."""
    return render(mesh(work), Person.draw(person), View.draw(person * 1_000 + view), size=128)


def item(work: Path, person: int, view: int) -> tuple[np.ndarray, dict]:
    """An image (128, 128, 3) uint8 and its record: mostly a photo, at times styled or degraded."""
    rng = np.random.default_rng([person, view, 7])
    shot = shoot(work, person, view)
    style = str(rng.choice(STYLES[1:])) if rng.random() < STYLED else "photo"
    kind = str(rng.choice(DEGRADATIONS)) if rng.random() < DEGRADED else None
    level = float(rng.uniform(0.3, 1.0)) if kind else 0.0
    image = stylize(shot.image.astype(np.float32) / 255, style, rng)
    if kind:
        image = degrade(image, kind, level, rng)
    record = {
        "person": person,
        "attributes": shot.attributes,
        "box": np.asarray(shot.box).tolist(),
        "points": np.asarray(shot.points).tolist(),
        "style": style,
        "degradation": kind,
        "level": level,
    }
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8), record


def write_shard(work: Path, name: str, people: list[int], views: int) -> Path:
    """Draw all views of `people` into one shard."""
    path = work / "corpus" / f"{name}-{people[0]}.npz"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    items = [item(work, person, view) for person in people for view in range(views)]
    aside = path.with_suffix(f".{os.getpid()}.tmp.npz")
    records = json.dumps([record for _, record in items])
    np.savez(aside, images=np.stack([image for image, _ in items]), records=np.array(records))
    os.replace(aside, path)
    return path


def write(work: Path, name: str, first: int, people: int, views: int, workers: int = 2) -> None:
    """Draw a corpus of `people` x `views` images with all cores."""
    mesh(work)
    shards = [
        list(range(p, min(p + SHARD, first + people))) for p in range(first, first + people, SHARD)
    ]
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(write_shard, work, name, shard, views) for shard in shards]
        for job in track(jobs, f"draw {name}", total=len(jobs)):
            job.result()


def captions(records: list[dict], seed: int) -> list[str]:
    """A freshly worded caption of each record."""
    rng = np.random.default_rng(seed)
    return [
        caption(r["attributes"], rng, style=r["style"], degradation=r["degradation"])
        for r in records
    ]


@dataclass(frozen=True)
class Corpus:
    """Images (n, 128, 128, 3) uint8 and their records, in a fixed order."""

    images: np.ndarray
    records: list[dict]

    @classmethod
    def load(cls, work: Path, name: str) -> "Corpus":
        """Read all shards of a corpus."""
        images, records = [], []
        for path in sorted((work / "corpus").glob(f"{name}-*[0-9].npz")):
            shard = np.load(path)
            images.append(shard["images"])
            records += json.loads(str(shard["records"]))
        return cls(np.concatenate(images), records)

    def where(self, **wanted: object) -> np.ndarray:
        """Indices of the records whose fields have the wanted values, e.g. style="photo"."""
        return np.array(
            [i for i, r in enumerate(self.records) if all(r[k] == v for k, v in wanted.items())]
        )

    def pixels(self, index: np.ndarray) -> Tensor:
        """Images (n, 3, 128, 128) float32 in [0, 1]."""
        return torch.from_numpy(self.images[index]).permute(0, 3, 1, 2).float() / 255

    def captions(self, index: np.ndarray, seed: int) -> list[str]:
        """A freshly worded caption of each image."""
        return captions([self.records[i] for i in index], seed)

    def batches(self, index: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """The indices in order, `size` at a time."""
        for start in range(0, len(index), size):
            yield index[start : start + size]


def pick(index: np.ndarray, size: int, generator: torch.Generator) -> np.ndarray:
    """`size` of the indices, drawn with replacement."""
    return index[torch.randint(len(index), (size,), generator=generator).numpy()]
