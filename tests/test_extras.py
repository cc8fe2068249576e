"""The core needs none of the extras, and says which one brings what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from diffshortcut import doctor, extras
from diffshortcut.config import config
from diffshortcut.errors import UserError
from diffshortcut.job import command

HEAVY = (
    *("torchvision", "tensorflow", "xformers", "bitsandbytes", "ray", "anny", "numba"),
    *("insightface", "deepface", "facexlib", "pyiqa", "lpips", "cv2", "spandrel", "codeformer"),
)
WITHOUT = '''
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path

class Without:
    """Finds installed packages but those."""

    find_distributions = staticmethod(PathFinder.find_distributions)
    invalidate_caches = staticmethod(PathFinder.invalidate_caches)

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in HEAVY
        return None if hidden else PathFinder.find_spec(name, path, target)

HEAVY = set(sys.argv[1].split(","))
sys.meta_path[sys.meta_path.index(PathFinder)] = Without()
import diffshortcut
root = Path(diffshortcut.__file__).parent
for file in sorted(root.rglob("*.py")):
    parts = file.relative_to(root.parent).with_suffix("").parts
    if "mini" not in parts and parts[-1] != "__main__":
        import_module(".".join(p for p in parts if p != "__init__"))
'''
RUNS = """
import torch
from diffshortcut import doctor
from diffshortcut.config import config
zoo = config.resolve(config.compose([]))["zoo"]
restorer, quality, perceptual, detector, recognizer, clip = (
    config.build(zoo[role])
    for role in ("restorer", "quality", "perceptual", "detector", "recognizer_a", "clip")
)
x = torch.rand(1, 3, 128, 128)
assert restorer(x).shape == x.shape and quality.score(x).shape == (1,)
assert perceptual.distance(x, x).item() == 0 and len(detector.detect(x)) == 1
assert clip.image_features(x).shape[0] == 1 and recognizer.embed(x[..., :112, :112]).shape[1] == 512
assert not HEAVY & set(sys.modules), HEAVY & set(sys.modules)
assert len(list(doctor.rows())) > 5
"""


def test_the_core_imports_and_runs_without_any_extra() -> None:
    """Every module outside of mini/, then the roles of the mini zoo, where all are forbidden."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT + RUNS, ",".join(HEAVY)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pyiqa", "insightface"):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UserError, match=rf"{module}.*pip install 'diffshortcut\[full\]'"):
            extras.load(f"{module}.anything", "full")


def test_what_a_config_builds_names_its_extra_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra wraps what a loader raises."""
    monkeypatch.setitem(sys.modules, "lpips", None)
    node = {"_target_": "diffshortcut.models.lpips.load", "weights": "file:none", "net": "vgg"}
    with pytest.raises(UserError, match=r"lpips.*pip install 'diffshortcut\[full\]'"):
        config.build({"_target_": "builtins.dict", "perceptual": node})


def test_every_extra_of_the_table_is_declared() -> None:
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    declared = project["project"]["optional-dependencies"]
    for extra, (modules, _) in extras.EXTRAS.items():
        for module in modules:
            package = module.replace("_", "-")
            assert any(line.startswith((module, package)) for line in declared[extra]), package
    assert {f"extra {name}" for name in extras.EXTRAS} <= {
        row[0].partition(":")[0] for row in doctor.rows()
    }


def test_every_loader_of_a_package_is_in_the_table() -> None:
    """A run looks there before it computes anything."""
    models = Path(extras.__file__).parent / "models"
    loaders = {f.stem for f in models.glob("*.py") if "extras.load(" in f.read_text()}
    known = {
        target.split(".")[2] for target in extras.CHOICES if target.startswith("diffshortcut.")
    }
    assert loaders == known
    assert {extra for _, extra in extras.CHOICES.values()} <= set(extras.EXTRAS)


def test_what_a_config_needs_is_told_with_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pyiqa", "bitsandbytes"):
        monkeypatch.setitem(sys.modules, module, None)
    assert extras.lacking([1, None, "sdpa"]) is None
    said = extras.lacking(["diffshortcut.models.iqa.load", "adamw8bit", "sdpa"])
    assert said == ("not installed: bitsandbytes, pyiqa. pip install 'diffshortcut[full,optim8]'")


def test_a_run_asks_for_packages_before_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """8-bit AdamW belongs to the training, which comes after hours of attack."""
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    words = ["attack=advdm", "compare.arms=[]", "data.people=1", "precision.optimizer=adamw8bit"]
    tasks = command.comparison([*words, "compare.clean=null"]).tasks
    assert "bitsandbytes" in str(command.lacking(tasks))
    assert command.lacking([task for task in tasks if task.stage == "protect"]) is None


def test_a_run_names_all_weights_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSHORTCUT_WEIGHTS", str(tmp_path))
    comparison = command.comparison(["zoo=full", "data=portraits", "purifier=ours"])
    with pytest.raises(UserError, match=r"(?s)sd21base.*commercial use.*codeformer \(.*fetch sd21"):
        command.require_weights(comparison)
