"""`python -m diffshortcut.bench.purifiers`: our purifiers beside plain published loops, and costs.

Four pictures; operations of both are counted, and both are timed in turn, theirs, ours, theirs,
ours. With --costs each purifier of the zoo is run in a process of its own instead: seconds to load,
for the first call and for the next, and peak memory, for one picture and for four.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import call
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffshortcut.artifacts import provenance
from diffshortcut.bench import published_diffpure as diffpure
from diffshortcut.bench import published_purifiers as published
from diffshortcut.bench.measured import Measured, chosen, counted, in_turn, quiet, sheets, timed
from diffshortcut.bench.records import PUBLISHED
from diffshortcut.bench.scenes import RELEASED, scene
from diffshortcut.config import config
from diffshortcut.data import portraits
from diffshortcut.progress import output, track
from diffshortcut.report.sheet import Sheet
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="bench", person="nobody")
BATCHES = (1, 4)
ALONE = "ours, a picture at a time"
MODULE = "diffshortcut.bench.purifiers"  # this one, whose __name__ may be __main__
COLUMNS = {
    "calls of a denoiser": "calls",
    "windows": "windows",
    "latents": "denoised",
    "encoded": "encoded",
    "decoded": "decoded",
    "features": "features",
    "prompts": "texts",
}


@dataclass(frozen=True)
class Case:
    """A purifier, the loop it is set beside, and the overrides that make it short."""

    name: str
    published: Callable[[Any, Tensor, Draws], Tensor]
    short: tuple[str, ...] = ()

    @property
    def beside(self) -> str:
        """What the loop is: published, or ours called for each picture, where all waste is that."""
        return ALONE if self.published is published.one_by_one else PUBLISHED

    def chain(self, *more: str) -> list[Any]:
        """The purifier's links."""
        return links(self.name, *(f"purifier.{value}" for value in self.short), *more)


CASES = [
    Case("gridpure", published.gridpure, ("gridpure.iterations=1", "gridpure.t=3")),
    Case("pixel_diffpure/tiled", published.gridpure, ("pixel_diffpure.t=3",)),
    Case("pixel_diffpure", diffpure.pixel_diffpure, ("pixel_diffpure.t=10",)),
    Case("ddspure", diffpure.ddspure, ("ddspure.radius=4",)),
    Case("latent_diffpure", published.latent_diffpure, ("latent_diffpure.steps=10",)),
    Case("latent_diffpure_null", published.latent_diffpure, ("latent_diffpure.steps=10",)),
    Case("impress", published.impress, ("impress.steps=4",)),
    Case("tvm", published.one_by_one, ("tvm.enlarge.steps=4",)),
    Case("sr", published.one_by_one, ("sr.steps=8",)),
    Case("codeformer", published.one_by_one),
    Case("vae", published.one_by_one),
    Case("gaussian", published.one_by_one),
    Case("jpeg", published.one_by_one),
    Case("adverse_cleaner", published.one_by_one),
    Case("codeformer_sr", published.one_by_one, ("sr.steps=8",)),
    Case("pdm_pure", published.one_by_one, ("pixel_diffpure.t=10", "sr.steps=8")),
    Case("noisy_upscale", published.one_by_one, ("sr.steps=4",)),
]


def links(name: str, *overrides: str) -> list[Any]:
    """The links of a purifier of the mini zoo."""
    resolved = config.resolve(config.compose([f"purifier={name}", *overrides]))["purifier"]
    return [config.build(link, "purifier") for link in resolved.values()]


def measure(case: Case, images: Tensor, seconds: float) -> Measured:
    """Count once each, which also warms up, then time in turn, once or until `seconds` are up."""
    theirs, ours = sides(case, images)
    counts = (counted(theirs), counted(ours))
    times = in_turn(partial(timed, theirs), partial(timed, ours), seconds)
    return Measured(case.name, counts, times)


def sides(case: Case, images: Tensor) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """The published purification and ours."""
    theirs, ours = case.chain(RELEASED), case.chain()
    return partial(_through, theirs, images, case.published), partial(_through, ours, images, call)


def _through(chain: list[Any], x: Tensor, purify: Callable[[Any, Tensor, Draws], Tensor]) -> Tensor:
    for link in chain:
        x = purify(link, x, DRAWS)
    return x


def costs(name: str, threads: int) -> list[str]:
    """A row: seconds per image and memory, in fresh processes."""
    row = [name]
    for batch in BATCHES:
        command = [sys.executable, "-m", MODULE, "--cost-of", name, "--batch", str(batch)]
        done = subprocess.run(
            [*command, "--threads", str(threads)], stdout=subprocess.PIPE, text=True, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        row += [f"{found[key]:.2f}" for key in ("load", "first", "next")]
        row.append(f"{found['memory'] / 2**30:.2f}")
    return row


def cost(name: str, images: Tensor) -> dict[str, float]:
    """Seconds to load, seconds per image of the first call and of the next, bytes at the peak.

    Of the whole process: Python and torch alone need about half a gigabyte.
    """
    with provenance.cost() as spent:
        start = time.perf_counter()
        chain = links(name)
        marks = [time.perf_counter() - start]
        for _ in range(2):
            start = time.perf_counter()
            _through(chain, images, call)
            marks.append((time.perf_counter() - start) / len(images))
    load, first, following = marks
    return {"load": load, "first": first, "next": following, "memory": spent["peak_memory"]}


def pictures(number: int) -> Tensor:
    """Of a person who comes with the package."""
    [person] = portraits.people(people=1)
    return scene(person).images[:number]


def main() -> None:
    """Measure, print, and write a markdown table where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="beginnings of names, such as gridpure")
    parser.add_argument("--seconds", type=float, default=10, help="of processor's time each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--costs", action="store_true", help="loading, first call, next, memory")
    parser.add_argument("--cost-of", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=4, help=argparse.SUPPRESS)
    parser.add_argument("--markdown", type=Path, help="a file for the tables")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    quiet()
    if asked.cost_of:
        print(json.dumps(cost(asked.cost_of, pictures(asked.batch))))
        return
    names = chosen([case.name for case in CASES], asked.only, parser)
    if asked.costs:
        rows: list[list[str]] = []
        for name in track(names, "purifiers"):
            rows.append(costs(name, asked.threads))
            tables = [_cost_sheet(rows)]
            _write(tables, asked.markdown)  # kept should a later one be interrupted
    else:
        cases = [case for case in CASES if case.name in names]
        four = pictures(4)
        found = [measure(case, four, asked.seconds) for case in track(cases, "purifiers")]
        tables = sheets(found, COLUMNS)
    console = output()
    for table in tables:
        console.print(table.rich())
    _write(tables, asked.markdown)


def _write(tables: list[Sheet], markdown: Path | None) -> None:
    if markdown:
        markdown.write_text("\n".join(table.markdown() for table in tables))


def _cost_sheet(rows: list[list[str]]) -> Sheet:
    titles = ("load, s", "first, s/image", "next, s/image", "peak, GB")
    header = [f"{title}, batch {batch}" for batch in BATCHES for title in titles]
    return Sheet("Cost", ["purifier", *header], rows)


if __name__ == "__main__":
    main()
