"""A new attack and a new purifier from a package outside: one python file and one yaml each."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ATTACK = """
from dataclasses import dataclass

from torch import Tensor

from diffshortcut.attacks.ball import check_budget
from diffshortcut.attacks.pgd import Loss, ascend, gradient_of
from diffshortcut.attacks.scene import Scene
from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class Brighten:
    radius: float
    steps: int

    def __post_init__(self) -> None:
        check_budget(radius=self.radius)

    def __call__(self, scene: Scene, draws: Draws) -> Tensor:
        gradient = gradient_of(lambda x, images, step: x.flatten(1).sum(1))
        clean, options = scene.images, {"radius": self.radius, "step": 1, "steps": self.steps}
        return ascend(clean, clean, gradient, **options)

    def objective(self, scene: Scene, draws: Draws) -> Loss:
        return lambda x, images, step: x.flatten(1).sum(1)
"""
PURIFIER = """
from dataclasses import dataclass

from torch import Tensor

from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class Posterize:
    shades: int

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        return (images * (self.shades - 1)).round() / (self.shades - 1)
"""
FILES = {
    "__init__.py": "",
    "brighten.py": ATTACK,
    "posterize.py": PURIFIER,
    "conf/attack/brighten.yaml": "_target_: outside.brighten.Brighten\nradius: 4\nsteps: 9\n",
    "conf/purifier/posterize.yaml": (
        "# @package purifier.posterize\n_target_: outside.posterize.Posterize\nshades: 3\n"
    ),
}
CHECK = """
import json, sys
from diffshortcut.artifacts import keys
from diffshortcut.config import catalog, config
from diffshortcut.errors import UserError

try:
    cfg = config.resolve(config.compose(sys.argv[1:]))
    config.check(cfg)
except UserError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
found = {
    "links": list(cfg["purifier"]),
    "groups": catalog.groups(),
    "key": keys.stage_key(stage="protect", config=cfg["attack"], parents={}),
}
assert "torch" not in sys.modules
"""
RUN = """
import torch
from diffshortcut.attacks.scene import Scene
from diffshortcut.seeding import Draws

draws, x = Draws(0, "protect", "nobody"), torch.full((2, 3, 8, 8), 100 / 255)
y = config.build(cfg["attack"])(Scene(images=x, clean=x, prior=None, names=("a", "b")), draws)
found["moved"] = sorted(set(((y - x) * 255).round().flatten().tolist()))
for link in cfg["purifier"].values():
    y = config.build(link)(y, draws)
found["shades"] = sorted(set(y.flatten().tolist()))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "outside"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def environment(package: Path, plugins: str = "outside") -> dict[str, str]:
    paths = [str(package.parent), str(Path(__file__).parents[1])]
    return {**os.environ, "DIFFSHORTCUT_PLUGINS": plugins, "PYTHONPATH": os.pathsep.join(paths)}


def ask(
    package: Path, *overrides: str, plugins: str = "outside", run: bool = False
) -> dict[str, Any]:
    """What a fresh process makes of a command line, and what its methods do."""
    script = CHECK + (RUN if run else "") + "print(json.dumps(found))"
    command = [sys.executable, "-c", script, *overrides]
    told = environment(package, plugins)
    done = subprocess.run(command, env=told, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_by_name_beside_the_projects_own(package: Path) -> None:
    found = ask(package, "attack=brighten", "purifier=posterize", "attack.radius=6", run=True)
    assert found["moved"] == [6.0] and found["shades"] == [0.5]
    assert found["links"] == ["posterize"]
    assert "brighten" in found["groups"]["attack"] and "aspl" in found["groups"]["attack"]
    assert "posterize" in found["groups"]["purifier"]
    assert ask(package, "purifier=[jpeg,posterize]")["links"] == ["jpeg", "posterize"]


@pytest.mark.slow
def test_the_command_protects_by_it_and_judges_it(package: Path) -> None:
    words = ["attack=brighten", "stages=protect", "data.people=1", "debug=tiny", "logger=none"]
    command = [sys.executable, "-m", "diffshortcut.run", *words, "runtime.threads=1"]
    done = subprocess.run(
        command, env=environment(package), cwd=package.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    [facts] = package.parent.glob("outputs/store/protect/*/facts.json")
    told = json.loads(facts.read_text())
    assert told["max"] == 4 and told["flags"] == {} and told["steps"] == 0
    assert all(of["protected"] > of["clean"] for of in told["objective_of"].values())


def test_its_source_is_part_of_the_stage_key(package: Path) -> None:
    before = ask(package, "attack=brighten")["key"]
    assert ask(package, "attack=brighten")["key"] == before
    source = package / "brighten.py"
    source.write_text(source.read_text().replace("sum(1)", "mean(1)"))
    assert ask(package, "attack=brighten")["key"] != before


def test_its_keys_and_types_are_checked(package: Path) -> None:
    wrong_key = ask(package, "attack=brighten", "+attack.step=3")["error"]
    assert "attack has no key 'step'" in wrong_key and "'steps'" in wrong_key
    assert "must be int" in ask(package, "attack=brighten", "attack.steps=many")["error"]


def test_a_package_that_cannot_be_imported_is_named(package: Path) -> None:
    assert "plug-in nowhere cannot be imported" in ask(package, plugins="nowhere")["error"]


@pytest.mark.parametrize("name", [".x", "a b", "a..b", "../evil", "1x"])
def test_what_can_be_no_package_is_named(package: Path, name: str) -> None:
    assert f"'{name}' cannot be the name of a package" in ask(package, plugins=name)["error"]


def test_a_config_value_cannot_make_a_package_trusted(package: Path) -> None:
    target = "attack._target_=outside.brighten.Brighten"
    refused = ask(package, "attack=random", target, "+attack.steps=9", plugins="")
    assert "DIFFSHORTCUT_PLUGINS" in refused["error"]
