"""A small world for tests of the graph: stand-in stages, two people of few pixels, no weights."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from diffshortcut import run, weights
from diffshortcut.config import config
from diffshortcut.cost import stages  # noqa: F401  imports the stages before they are stand-ins
from diffshortcut.graph import cells
from diffshortcut.stages.inputs import Inputs

WEIGHTS = ("mini_a", "codeformer", "upscaler", "clip", "quality", "recognizer_a", "recognizer_b",
           "detector")  # fmt: skip
NAMES = {"prior": "images", "protect": "images", "purify": "images", "generate": "images"}


class World:
    """Stand-ins for every stage that write small files and note that they were called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[str, str]] = []
        self.failing: set[tuple[str, str]] = set()
        self.facts: dict[tuple[str, str], dict[str, Any]] = {}  # what stages say besides
        self.seen: dict[str, list[dict[str, Path]]] = {}
        self.during: dict[str, Callable[[], object]] = {}

    def stage(self, name: str) -> ModuleType:
        module = ModuleType(f"diffshortcut.stages.{name}")
        module.run = lambda **given: self.do(name, **given)  # type: ignore[attr-defined]
        return module

    def do(self, name: str, *, config: dict, inputs: Inputs, out: Path, draws: Any) -> dict:
        assert draws.stage == name
        person = inputs.person.name if inputs.person else ""
        assert draws.person == person
        self.calls.append((name, person))
        self.seen.setdefault(name, []).append(inputs.artifacts)
        self.during.pop(name, lambda: None)()
        if (name, person) in self.failing:
            raise RuntimeError("it broke")
        if name in NAMES:
            (out / "images").mkdir()
            Image.new("RGB", (8, 8)).save(out / "images" / "00.png")
        if name == "personalize":
            (out / "model.safetensors").write_text(person)
        if name == "score":
            self.rows(out, config, len(self.calls))
        return {"steps": 1, **self.facts.get((name, person), {})}

    def rows(self, out: Path, config: dict, value: int) -> None:
        target = config["metric"]["_target_"].split(".")[-1]
        metric = {"IMS": "ims", "Quality": "q"}.get(target, "x")
        row = {"metric": metric, "value": value, "prompt": "p", "sample": 0, "better": "higher"}
        (out / "rows.jsonl").write_text(json.dumps(row) + "\n")

    def launch(self, *overrides: str) -> list[cells.Failure]:
        self.calls.clear()
        return run.launch(self.overrides(*overrides))

    def overrides(self, *more: str) -> list[str]:
        paths = {"data.root": "people", "runtime.store": "store", "runtime.outputs": "outputs"}
        given = [f"{key}={self.root / place}" for key, place in paths.items()]
        return ["data=folder", "logger=none", *given, *more]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in WEIGHTS:
        (tmp_path / "weights" / name).mkdir(parents=True)
        (tmp_path / "weights" / name / "model.safetensors").write_text(name)
    monkeypatch.setattr(weights, "MINI", tmp_path / "weights")
    monkeypatch.setattr(config, "check_values", lambda node, where: None)  # imports every method
    for person in ("ann", "bob"):
        (tmp_path / "people" / person).mkdir(parents=True)
        for index in range(12):
            color = (index, len(person), 0)
            Image.new("RGB", (8, 8), color).save(tmp_path / "people" / person / f"{index:02}.png")
    monkeypatch.setattr(run._grid, "_asked", False)
    made = World(tmp_path)
    for stage in cells.STAGES:
        monkeypatch.setitem(sys.modules, f"diffshortcut.stages.{stage}", made.stage(stage))
    yield made
