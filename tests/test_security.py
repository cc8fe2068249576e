"""Nothing that is data runs: no pickle, no escape from archives, no YAML object, no target."""

import ast
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import SafetensorError

from diffshortcut.artifacts.checkpoint import Checkpoint, Variables
from diffshortcut.config import catalog
from diffshortcut.errors import UserError
from diffshortcut.weights import fetch, registry

ROOT = Path(__file__).parent.parent
SOURCES = [p for part in ("diffshortcut", "experiments") for p in (ROOT / part).rglob("*.py")]
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN = {  # calls that run or unpack what they are given
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "shutil.unpack_archive"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.hub.load", "runpy.run_path"),
}


class Canary:
    """Whoever unpickles it makes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.place),)


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a source file, with the dotted name of what is called."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_no_source_unpickles_or_runs_data() -> None:
    assert len(SOURCES) > 100
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not UNPICKLERS & {name.partition(".")[0] for name in names}, path
        for name, call in calls(path):
            said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            named = bool(call.args) and isinstance(call.args[0], ast.Constant)
            is_import = name == "__import__" and named  # of what the source itself names
            assert name not in FORBIDDEN or is_import, f"{path}:{call.lineno}"
            unpacks = path.name == "fetch.py" and name.endswith(".extract")
            assert not unpacks and not name.endswith(".extractall"), f"{path}:{call.lineno}"
            assert said.get("shell", "False") == said.get("allow_pickle", "False") == "False", path
            if name == "torch.load":
                assert said["weights_only"] == "True", f"{path}:{call.lineno}"
            if name in ("torch.load", "torch.jit.load"):  # where a hash is compared before
                compared = path.name == "unpickle.py" or "mini/train" in path.as_posix()
                assert compared, f"{path}:{call.lineno}"


def pickled(place: Path, folder: Path, name: str) -> Path:
    """A file that makes `place` if it is unpickled, also by torch."""
    import torch

    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(Canary(place), path)
    return path


def into_pixel_model(folder: Path, place: Path) -> None:
    from diffshortcut.models import guided_diffusion

    guided_diffusion.load(weights=f"file:{pickled(place, folder, 'net.pt')}")


def into_codeformer(folder: Path, place: Path) -> None:
    from diffshortcut.models.codeformer import CodeFormer

    CodeFormer.read_released(f"file:{pickled(place, folder, 'codeformer.pth')}")


def into_a_pipeline(folder: Path, place: Path) -> None:
    """The safetensors of the denoiser are replaced by the old format of diffusers."""
    import shutil

    from diffshortcut.models import ldm
    from diffshortcut.weights import MINI

    shutil.copytree(MINI / "mini_a", folder / "ldm")
    for path in (folder / "ldm" / "unet").glob("*.safetensors"):
        path.unlink()
    pickled(place, folder / "ldm" / "unet", "diffusion_pytorch_model.bin")
    ldm.load(weights=f"file:{folder / 'ldm'}")


def into_a_clip(folder: Path, place: Path) -> None:
    import shutil

    from diffshortcut.models import clip
    from diffshortcut.weights import MINI

    shutil.copytree(MINI / "clip", folder / "clip")
    (folder / "clip" / "model.safetensors").unlink()
    pickled(place, folder / "clip", "pytorch_model.bin")
    clip.load(weights=f"file:{folder / 'clip'}")


def into_a_state(folder: Path, place: Path) -> None:
    """A checkpoint that is a pickle is no state: the loop begins again, which is an error here."""
    import torch

    pickled(place, folder, "loop.safetensors")
    steps = list(Checkpoint(folder, 10).track(range(2), "loop", Variables(x=torch.zeros(1))))
    if steps == [0, 1]:
        raise ValueError("it began again")


def into_an_array(folder: Path, place: Path) -> None:
    np.save(folder / "array.npy", np.array([Canary(place)], dtype=object))
    np.load(folder / "array.npy")


@pytest.mark.parametrize(
    "load",
    [into_pixel_model, into_codeformer, into_a_pipeline, into_a_clip, into_a_state, into_an_array],
)
def test_a_canary_in_a_pickle_is_never_woken(
    tmp_path: Path, load: Callable[[Path, Path], None]
) -> None:
    place = tmp_path / "woken"
    with pytest.raises(
        (pickle.UnpicklingError, OSError, ValueError, RuntimeError, SafetensorError, UserError)
    ):
        load(tmp_path, place)
    assert not place.exists()


def test_the_canary_works(tmp_path: Path) -> None:
    place = tmp_path / "woken"
    pickle.loads(pickle.dumps(Canary(place)))
    assert place.exists()


@pytest.mark.parametrize("name", ["../net.pt", "../../net.pt", "/net.pt", "a/../../net.pt"])
def test_an_archive_writes_nothing_but_the_file_that_is_wanted(tmp_path: Path, name: str) -> None:
    archive, part = tmp_path / "a" / "b" / "toy.zip", tmp_path / "a" / "b" / "net.pt.part"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(name, "net")
        opened.writestr("../evil.py", "evil")
    fetch._unpacked(archive, part, "net.pt")
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == {archive, part}
    assert part.read_text() == "net"


EVIL = "!!python/object/apply:os.mkdir [{}]"


def test_yaml_makes_no_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    place, table = tmp_path / "woken", tmp_path / "registry.yaml"
    table.write_text(f"toy: {EVIL.format(place)}")
    monkeypatch.setattr(registry, "REGISTRY", table)
    with pytest.raises(yaml.YAMLError):
        registry.entries.__wrapped__()
    assert not place.exists()


WOKEN = "evil_module"  # importing it makes a file
FILES = {
    "experiment/target.yaml": f"# @package _global_\nattack: {{_target_: {WOKEN}.run}}\n",
    "experiment/nested.yaml": f"# @package _global_\nattack: {{eot: {{_target_: {WOKEN}.run}}}}\n",
    "experiment/callback.yaml": (
        f"# @package _global_\nhydra: {{callbacks: {{x: {{_target_: {WOKEN}.run}}}}}}\n"
    ),
    "experiment/logging.yaml": (
        f"# @package _global_\nhydra: {{job_logging: {{handlers: {{x: {{(): {WOKEN}.run}}}}}}}}\n"
    ),
    "experiment/walk.yaml": (
        "# @package _global_\nhydra: {job_logging: {handlers: {x: {"
        "(): diffshortcut.artifacts.store.shutil.copytree, src: mine, dst: woken}}}}\n"
    ),
    "experiment/sought.yaml": (
        f"# @package _global_\nhydra: {{job_logging: {{root: {{level: 'ext://{WOKEN}.run'}}}}}}\n"
    ),
    "debug/callback.yaml": (
        f"# @package _global_\nhydra: {{callbacks: {{x: {{_target_: {WOKEN}.run}}}}}}\n"
    ),
    "experiment/sweep.yaml": (
        "# @package _global_\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {debug: 'callback,tiny'}}}\n"
    ),
    "experiment/plugins.yaml": (
        "# @package _global_\nhydra: {job: {env_set: {DIFFSHORTCUT_PLUGINS: evil_module}}}\n"
        f"attack: {{_target_: {WOKEN}.run}}\n"
    ),
    "experiment/object.yaml": f"# @package _global_\nseed: {EVIL.format('woken')}\n",
    "purifier/evil.yaml": f"# @package purifier.evil\n_target_: {WOKEN}.run\n",
}


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A trusted plug-in with config files from somebody, who names a module that is not trusted.

    The module tells when it is imported.
    """
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    for name, text in FILES.items():
        (tmp_path / "mine" / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / "conf" / name).write_text(text)
    woken = f"import os\nos.makedirs({str(tmp_path / 'woken')!r})\ndef run(**_): pass\n"
    (tmp_path / f"{WOKEN}.py").write_text(woken)
    return tmp_path


TARGETS = [
    ["attack=random", f"attack._target_={WOKEN}.run"],
    ["experiment=target"],
    ["experiment=callback"],
    ["experiment=logging"],
    ["purifier=evil"],
]
MORE_TARGETS = [
    ["attack=aspl", f"+attack.surrogate.x={{_target_: {WOKEN}.run}}"],
    ["attack=random", "attack._target_=os.mkdir"],
    [f"+hydra.callbacks.x._target_={WOKEN}.run"],
    ["+hydra.callbacks.x._target_=hydra.utils.get_object", f"+hydra.callbacks.x.path={WOKEN}"],
    [f"hydra.launcher._target_={WOKEN}.run", "--multirun", "seed=0,1"],
    [f"hydra.sweeper._target_={WOKEN}.run", "--multirun", "seed=0,1"],
    ["attack=aspl", "experiment=nested"],
    ["--multirun", "experiment=quickstart,callback"],
    ["--multirun", "debug=callback,tiny"],
    ["--multirun", "debug=glob(c*)"],
    ["experiment=sweep"],
    ["experiment=walk"],
    ["experiment=sought"],
    ["--config-dir=mine/conf", "seed=1"],
    ["--experimental-rerun=x.pickle", "seed=1"],
    ["experiment=plugins"],
    ["experiment=object"],
]


@pytest.mark.parametrize(
    "words",
    [*TARGETS, *(pytest.param(words, marks=pytest.mark.slow) for words in MORE_TARGETS)],
    ids=" ".join,
)
def test_a_foreign_target_is_refused_before_it_is_imported(evil: Path, words: list[str]) -> None:
    path = f"{ROOT}{os.pathsep}{evil}"
    env = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    env |= {"PYTHONPATH": path, "DIFFSHORTCUT_PLUGINS": "mine"}
    command = [sys.executable, "-m", "diffshortcut.run", *words, "logger=none"]
    done = subprocess.run(
        command, cwd=evil, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stdout
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (evil / "woken").exists() and not (evil / "outputs").exists()


WALKS = [
    "+hydra.callbacks.x._target_=hydra._internal.utils.os.system",
    "+hydra.callbacks.x._target_=hydra._internal.utils.get_args_parser",
    "+hydra.callbacks.x._target_=diffshortcut.launch.worker.Worker",
    "+hydra.job_logging.handlers.x.class=logging.os.system",
    "+hydra.job_logging.handlers.x.class=mine.os.mkdir",
    "hydra.job_logging.root.level='ext://evil.run'",
    "hydra.job_logging.root.level='${runtime.store}'",
    "hydra.run.dir='ext://evil'",
    "experiment=quickstart,walk",
    "debug=tiny,callback",
    "debug=glob(call*)",
    "experiment=sweep",
]


@pytest.mark.parametrize("word", WALKS)
def test_nothing_is_reached_by_a_walk_nor_by_an_option_of_a_sweep(
    evil: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    from diffshortcut.config import schema, trusted

    monkeypatch.syspath_prepend(evil)
    monkeypatch.setattr(schema, "plugins", lambda: ("mine",))
    monkeypatch.setattr(catalog, "roots", lambda: (catalog.folder(), evil / "mine" / "conf"))
    with pytest.raises(UserError, match="import|no folder|no such function"):
        trusted.check([word])


@pytest.mark.parametrize("name", ["catalog.find_spec", "config.instantiate", "config._imported"])
def test_a_target_is_what_its_module_offers(name: str) -> None:
    from diffshortcut.config import schema

    with pytest.raises(UserError, match="no such function"):
        schema.signature(f"diffshortcut.config.{name}")


@pytest.mark.parametrize("flag", ["--config-path=x", "-cd=x", "--config-n=x", "--experimental=x"])
def test_no_flag_replaces_the_config_that_is_looked_at(flag: str) -> None:
    from diffshortcut.config import trusted

    assert trusted.words(["--cfg", "job", "seed=1", "-m"]) == ["seed=1"]
    with pytest.raises(UserError, match="is not taken: .*hydra.searchpath"):
        trusted.words([flag, "seed=1"])


def test_what_hydra_needs_itself_is_trusted() -> None:
    from diffshortcut import launch
    from diffshortcut.config import trusted

    launch.register()
    trusted.check(["hydra/launcher=graph", "hydra/job_logging=default"])
    trusted.check(["attack=nothing,aspl"])  # Hydra says what is wrong
    trusted.check([])
    trusted.check(["attack=aspl,metacloak", "experiment=quickstart,attacks", "seed=0,1"])
    trusted.check(["+hydra.job.env_set.OMP_NUM_THREADS=1"])


def test_a_picture_is_not_unpickled(tmp_path: Path) -> None:
    from diffshortcut.pictures.decode import rgb

    stream = io.BytesIO(pickle.dumps(Canary(tmp_path / "woken")))
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    with pytest.raises(UserError):
        rgb(tmp_path / "a.png")
    assert not (tmp_path / "woken").exists() and catalog.folder().is_dir()


@pytest.mark.parametrize(
    "target",
    ["os.mkdir", f"{WOKEN}.run", "diffshortcut.data.people.Path.mkdir", "diffshortcut.run.main"],
)
def test_opening_somebody_s_results_runs_nothing_of_theirs(
    evil: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    import json

    from result_folders import Arm, Folder

    from diffshortcut.report import loaded, pictures

    monkeypatch.syspath_prepend(evil)
    place = evil / "woken"
    folder = Folder(evil, "run", [Arm("none")]).write()
    outside = evil / "outside" / "images"
    outside.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(outside / "0-00.png")
    record = json.loads((folder / "record.json").read_text())
    record["arms"]["clean"]["data"] = {"_target_": target, "path": str(place)}
    for stages in record["stages"]["clean"].values():
        stages["protect"] |= {"stage": str(evil), "key": "outside"}
        stages["generate"] |= {"stage": "..", "key": "outside"}
    (folder / "record.json").write_text(json.dumps(record))
    album = pictures.collect(loaded.load([folder]).entries, [], megabytes=1)
    assert not place.exists() and WOKEN not in sys.modules
    assert not album.images and album.absent == 2
