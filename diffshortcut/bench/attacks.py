"""`python -m diffshortcut.bench.attacks`: our attacks beside plain versions of the published loops.

Operations of both are counted, and both are timed in turn, theirs, ours, theirs, ours: a ratio is
the median over these pairs, which a shared machine disturbs least. A ratio of times below nine
tenths of the counted one is time lost. Beside the clock stands the processor's time, which is what
the clock would say if nobody else had the processor.

Operations are no seconds: at the mini zoo's size those of the autoencoder run about one and a half
times as fast as those of the denoiser, so that what saves only the former (Mist) reaches less.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from diffshortcut.artifacts.checkpoint import Checkpoint, Variables
from diffshortcut.attacks.record import Record
from diffshortcut.attacks.scene import Scene
from diffshortcut.bench import sd_size
from diffshortcut.bench.cases import CASES, Case, person
from diffshortcut.bench.counts import Counts, counting
from diffshortcut.bench.measured import Measured, Times, chosen, clocked, in_turn, quiet, sheets
from diffshortcut.bench.scenes import RELEASED
from diffshortcut.progress import output, track
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="bench", person="nobody")

Method = Callable[[Scene, Draws], Tensor]


@dataclass(frozen=True)
class Watched(Checkpoint):
    """Turns of the loop of one name, each inside a context of its own; nothing is kept."""

    loop: str = ""
    around: Callable[[], AbstractContextManager[None]] = nullcontext

    def track(self, steps: range, what: str, variables: Variables) -> Iterator[int]:
        """Yield `steps`."""
        for number in steps:
            with self.around() if what == self.loop else nullcontext():
                yield number


def sides(case: Case) -> tuple[Method, Method]:
    """The published attack and ours."""
    return partial(case.published, case.attack(RELEASED)), case.attack()


def measure(case: Case, theirs: Method, ours: Method, scene: Scene, seconds: float) -> Measured:
    """Count once each, which also warms up, then time in turn, once or until `seconds` are up."""
    counts = (count(theirs, case.loop, scene), count(ours, case.loop, scene))
    run = partial(timed, loop=case.loop, scene=scene)
    times = in_turn(partial(run, theirs), partial(run, ours), seconds)
    return Measured(case.name, counts, times)


def count(method: Method, loop: str, scene: Scene, *, operations: bool = True) -> Counts:
    """What a turn computes, the mean of all turns."""
    total, turns = Counts(), []

    @contextmanager
    def around() -> Iterator[None]:
        turns.append(1)
        with counting(total, operations=operations):
            yield

    watch(method, loop, scene, around)
    if not turns:
        raise ValueError(f"the attack has no loop '{loop}'")
    return total.per(len(turns))


def timed(method: Method, loop: str, scene: Scene) -> Times:
    """How long the shortest turn of a run takes."""
    found: list[Times] = []
    watch(method, loop, scene, partial(clocked, found))
    return Times.shortest(found)


def watch(
    method: Method, loop: str, scene: Scene, around: Callable[[], AbstractContextManager[None]]
) -> Tensor:
    """A whole run, the turns of `loop` inside `around`."""
    checkpoint = Watched(loop=loop, around=around)
    return method(replace(scene, record=Record(), checkpoint=checkpoint), DRAWS)


def main() -> None:
    """Measure, print, and write a markdown table where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="beginnings of names, such as aspl")
    parser.add_argument("--seconds", type=float, default=15, help="of processor's time per attack")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", type=Path, help="a file for the tables")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    quiet()
    names = chosen([case.name for case in CASES], asked.only, parser)
    cases = [case for case in CASES if case.name in names]
    scene = person()
    found = [measure(case, *sides(case), scene, asked.seconds) for case in track(cases, "attacks")]
    tables = [*sheets(found), sd_size.sheet()]
    console = output(110)
    for table in tables:
        console.print(table.rich())
    if asked.markdown:
        asked.markdown.write_text("\n".join(table.markdown() for table in tables))


if __name__ == "__main__":
    main()
