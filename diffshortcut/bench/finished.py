"""Finished comparisons without their computing: stages are stand-ins, all else is as always."""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from PIL import Image

from diffshortcut import run
from diffshortcut.config import config
from diffshortcut.graph import cells
from diffshortcut.stages.inputs import Inputs

ATTACKS = ("fsmg", "aspl", "easpl", "metacloak", "advdm", "photoguard_encoder", "glaze")
PURIFIERS = (
    *("none", "gaussian", "jpeg", "tvm", "pixel_diffpure", "latent_diffpure"),
    *("latent_diffpure_null", "ddspure", "gridpure", "impress", "ours"),
)
METRICS = {"IMS": "ims", "Quality": "q"}  # what stand-ins score


def table1(root: Path) -> list[list[str]]:
    """The words of each cell of Table 1: 7 attacks, each with 11 arms, of one person."""
    alone = ["compare.arms=[]", "compare.clean=null"]
    return [
        words(root, f"attack={attack}", f"purifier={purifier}", *alone)
        for attack in ATTACKS
        for purifier in PURIFIERS
    ]


def words(root: Path, *more: str) -> list[str]:
    """A command line whose store and results are below `root`."""
    places = [f"runtime.store={root / 'store'}", f"runtime.outputs={root / 'outputs'}"]
    return ["data.people=1", "logger=none", "runtime.threads=1", *places, *more]


def finish(jobs: Sequence[Sequence[str]]) -> None:
    """Let stand-ins do all stages, and write all results."""
    with standing_in(), redirect_stdout(io.StringIO()):
        for job in jobs:
            if failures := run.launch(job):
                raise RuntimeError(f"{' '.join(job)}: {failures[0].reason}")


@contextmanager
def standing_in() -> Iterator[None]:
    """Inside, a stage writes a few pixels or a score, whatever it is told."""
    stand_ins = {f"diffshortcut.stages.{name}": _module(name) for name in cells.STAGES}
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        with patch.object(config, "check_values", lambda node, where: None):  # imports methods
            yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module:
                sys.modules[name] = module


def _module(stage: str) -> ModuleType:
    module = ModuleType(f"diffshortcut.stages.{stage}")
    module.__dict__["run"] = _score if stage == "score" else _draw
    return module


def _draw(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Any) -> dict[str, Any]:
    (out / "images").mkdir()
    Image.new("RGB", (8, 8)).save(out / "images" / "00.png")
    return {}


def _score(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Any) -> dict[str, Any]:
    metric = METRICS.get(config["metric"]["_target_"].rpartition(".")[2], "other")
    row = {"metric": metric, "value": 0.5, "prompt": "p", "sample": 0, "better": "higher"}
    (out / "rows.jsonl").write_text(json.dumps(row) + "\n")
    return {}
