"""What might make the slowest parts faster, each tried beside what is there.

    OMP_NUM_THREADS=1 python experiments/bench/tried.py   # the table of steps.md; twelve minutes

Three parts take nine tenths of the main job and of a purification: a step of DreamBooth, the
denoiser while pictures are drawn (8 latents), and the pixel denoiser on windows (16). An idea is a
precision= option or a switch of torch. Each pair is timed in turn, after a warm-up of both.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from statistics import median

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffshortcut.bench.measured import Times, in_turn, quiet, timed
from diffshortcut.bench.parts.training import DRAWS, pictures, settings
from diffshortcut.config import config
from diffshortcut.config.schema import own
from diffshortcut.data import portraits
from diffshortcut.dreambooth import Posterior, Training

Turn = Callable[[], object]
SECONDS, PAIRS, TURNS, WARM = 12, 7, 4, 3
LATENTS, WINDOWS = 8, 16


@contextmanager
def flushed() -> Iterator[None]:
    """Numbers too small for full precision are 0."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


IDEAS: dict[str, tuple[Sequence[str], Callable[[], AbstractContextManager[None]]]] = {
    "compiled": (["precision.compiled=true"], nullcontext),
    "channels last": (["precision.channels_last=all"], nullcontext),
    "bfloat16 products": (["precision.autocast=bfloat16"], nullcontext),
    "attention as products": ([], lambda: sdpa_kernel(SDPBackend.MATH)),
    "denormals flushed": ([], flushed),
}


def training(words: Sequence[str]) -> Turn:
    """A step of the default trainer."""
    trainer = config.build(own(config.resolve(config.compose(list(words)))["trainer"]), "trainer")
    [person] = portraits.people(people=1)
    posterior, classes = (Posterior.of(trainer.model, x) for x in pictures(person))
    step = Training(trainer.model, settings(trainer), classes, DRAWS)
    return partial(step.train, posterior, 1)


def denoiser(words: Sequence[str]) -> Turn:
    """The victim's denoiser, without gradient."""
    model = config.build(own(config.resolve(config.compose(list(words)))["model"]), "model")
    z = DRAWS.normal("z", model.latent_shape, LATENTS)
    with torch.no_grad():
        context = model.encode_prompt(["a photo of sks person"] * LATENTS)
    t = torch.full((LATENTS,), 500)
    return torch.no_grad()(lambda: model.predict(z, t, context))


def pixel_denoiser(words: Sequence[str]) -> Turn:
    """The pixel model's, without gradient."""
    found = config.resolve(config.compose(list(words)))
    model = config.build(own(found["zoo"]["pixel"]), "zoo.pixel")
    x = DRAWS.normal("x", (3, model.resolution, model.resolution), WINDOWS)
    return torch.no_grad()(lambda: model.predict(x, 10))


PARTS = {
    "training step": training,
    "denoiser": denoiser,
    "pixel denoiser": pixel_denoiser,
}


def compared(make: Callable[[Sequence[str]], Turn], idea: str) -> tuple[float, float]:
    """How many times as fast by the clock, and by the processor's time."""
    words, inside = IDEAS[idea]
    before, changed = make([]), make(words)

    def after() -> None:
        with inside():
            changed()

    def several(turn: Turn) -> Times:
        return timed(lambda: [turn() for _ in range(TURNS)])

    for turn in (before, after):
        several(turn)
    pairs = in_turn(partial(several, before), partial(several, after), SECONDS, PAIRS)
    walls = [old.wall / new.wall for old, new in pairs]
    return median(walls), median(old.processor / new.processor for old, new in pairs)


def main() -> None:
    """The table, a line as soon as it is measured; of the parts that are named, if any is."""
    print("| part | idea | times as fast | by the processor's time |\n| --- | --- | --- | --- |")
    chosen = {part: PARTS[part] for part in sys.argv[1:]} or PARTS
    for part, make in chosen.items():
        for idea in IDEAS:
            wall, processor = compared(make, idea)
            print(f"| {part} | {idea} | {wall:.2f} | {processor:.2f} |", flush=True)


if __name__ == "__main__":
    quiet()
    main()
