"""`python -m diffshortcut.bench.costs`: what plans tell beside what is counted and measured.

Stages of the mini zoo run with few steps, what they read is blank, each in two processes: one
counts operations and adds up the tensors on the CPU, at most, the other looks how far its resident
memory rises above what it was with everything imported.
"""

import importlib
import json
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from diffshortcut.report.sheet import Sheet

QUICK = ("debug=quick", "logger=none")
CASES = {  # the stage of a cell
    "advdm": ("protect", ("attack=advdm",)),
    "sds": ("protect", ("attack=sds",)),
    "caat": ("protect", ("attack=caat",)),
    "mist_v2": ("protect", ("attack=mist_v2", "attack.pgd_steps=3", "attack.lora_steps=3")),
    "photoguard_diffusion": ("protect", ("attack=photoguard_diffusion",)),
    "aspl": ("protect", ("attack=aspl",)),
    "metacloak": ("protect", ("attack=metacloak",)),
    "trajectory": ("protect", ("attack=adaptive", "purifier=ours")),
    "dreambooth": ("personalize", ("attack=none",)),
    "pixel_diffpure": ("purify.pixel_diffpure", ("attack=none", "purifier=pixel_diffpure")),
    "gridpure": ("purify.gridpure", ("attack=none", "purifier=gridpure")),
    "latent_diffpure": ("purify.latent_diffpure", ("attack=none", "purifier=latent_diffpure")),
    "impress": ("purify.impress", ("attack=none", "purifier=impress")),
    "codeformer": ("purify.codeformer", ("attack=none", "purifier=codeformer")),
    "sr": ("purify.sr", ("attack=none", "purifier=sr")),
    "plain": ("generate", ("attack=none", "sampler=plain")),
    "quality metric": ("score.quality", ("attack=none",)),
}


@dataclass(frozen=True)
class Real:
    """What a stage did: operations, bytes of tensors at most, bytes its process grew by."""

    flops: float
    tensors: int
    resident: int


def task(name: str) -> Any:
    """The stage of a case."""
    from diffshortcut.config import config
    from diffshortcut.data import portraits
    from diffshortcut.graph import cells

    stage, overrides = CASES[name]
    [person] = portraits.people(people=1)
    return cells.plan(config.resolve(config.compose([*QUICK, *overrides])), person)[stage]


def run(name: str) -> None:
    """The stage of a case as a run has it, with blank artifacts to read."""
    from diffshortcut.config import config
    from diffshortcut.seeding import Draws
    from diffshortcut.stages.inputs import Inputs

    made = task(name)
    stage = importlib.import_module(f"diffshortcut.stages.{made.stage}")
    # `config.build` as it is now: who counts may have put another in its place
    building = patch.object(stage, "build", config.build)
    with short(), building, TemporaryDirectory() as place:
        out = Path(place) / "out"
        out.mkdir()
        artifacts = {role: _artifact(role, made, Path(place) / role) for role in made.inputs}
        inputs = Inputs(person=made.person, artifacts=artifacts)
        stage.run(config=made.config, inputs=inputs, out=out, draws=Draws(0, made.stage, "nobody"))


def _artifact(role: str, task: Any, folder: Path) -> Path:
    """What a stage reads in a role: the model that it began with, or blank pictures."""
    import torch

    from diffshortcut.cost.stages import side_of
    from diffshortcut.pictures.images import write_folder
    from diffshortcut.weights import locate

    if role in ("model", "personalized"):
        return locate("mini:mini_a")
    config, names = task.inputs[role].config, [f"{path.stem}.png" for path in task.person.set_B]
    if role == "prior":
        names = [f"{number}.png" for number in range(config["images"])]
    if role == "generated":
        prompts, count = config["sampler"]["prompts"], config["sampler"]["images"]
        names = [f"{p}-{s:02d}.png" for p in range(len(prompts)) for s in range(count)]
        folder.mkdir()
        (folder / "prompts.json").write_text(json.dumps({"prompts": prompts}))
    side = side_of(task)
    write_folder(folder / "images", torch.zeros(len(names), 3, side, side), names)
    return folder


def short() -> AbstractContextManager[Any]:
    """Inside, attacks look at their objective for one draw."""
    from diffshortcut.stages import protect

    return patch.object(protect, "HELD_OUT", 1)


def tensors(name: str) -> dict[str, float]:
    """Operations, then, with the kernels that are really used, bytes of tensors at most."""
    from diffshortcut.bench.counts import Counts, counting
    from diffshortcut.cost.ledger import Ledger
    from diffshortcut.cost.rehearsal import resident

    counts, ledger = Counts(), Ledger("cpu")
    with counting(counts):
        run(name)
    with ledger, resident(ledger):
        run(name)
    return {"flops": counts.flops, "tensors": ledger.book.most}


def process(name: str) -> dict[str, float]:
    """Bytes that a process of one thread adds to those it has with everything imported."""
    import torch

    from diffshortcut.artifacts import provenance

    torch.set_num_threads(1)
    import diffshortcut.cost.rehearsal  # noqa: F401  # imports what stages import

    with provenance.cost() as before:
        pass
    with provenance.cost() as spent:
        run(name)
    return {"resident": spent["peak_memory"] - before["peak_memory"]}


def measured(name: str) -> Real:
    """Both, each in a process of its own."""
    found: dict[str, Any] = {}
    for what in ("tensors", "process"):
        command = [sys.executable, "-m", "diffshortcut.bench.costs", what, name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found |= json.loads(done.stdout.splitlines()[-1])
    return Real(**found)


def sheet(names: list[str]) -> Sheet:
    """A row per case."""
    from diffshortcut.cost.estimate import estimate

    rows = []
    for name in names:
        with short():
            told = estimate(task(name))
        real = measured(name)
        memory = [f"{value / 1e6:.0f}" for value in (told.peak, real.tensors, real.resident)]
        ratios = [f"{told.peak / real.tensors:.2f}", f"{told.peak / real.resident:.2f}"]
        flops = [f"{value / 1e9:.2f}" for value in (told.flops, real.flops)]
        rows.append([name, *flops, f"{told.flops / max(real.flops, 1):.3f}", *memory, *ratios])
        print(json.dumps([name, asdict(told), asdict(real)]), file=sys.stderr, flush=True)
    header = ["stage", "GFLOP told", "counted", "ratio", "MB told", "tensors", "resident"]
    return Sheet("told / real", [*header, "to tensors", "to resident"], rows)


if __name__ == "__main__":
    if sys.argv[1:2] in (["tensors"], ["process"]):
        print(json.dumps({"tensors": tensors, "process": process}[sys.argv[1]](sys.argv[2])))
    else:
        from rich.console import Console

        Console(width=120).print(sheet(sys.argv[1:] or list(CASES)).rich())
