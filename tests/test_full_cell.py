"""A cell of the full zoo, every stage to the generated pictures, on small stand-ins.

The stand-ins hold random weights in the released layouts (official_layout.py), so the numbers mean
nothing: what is tested is that `zoo=full` finds, loads, trains, saves, reads them. Roles that need
the packages of the extra [full] are the mini zoo's, or left out (`others`), but in the last test,
which has all.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import full_files
import official_layout as official
import pytest
import tiny_zoo
import torch
from safetensors.torch import load_file

from diffshortcut.artifacts.store import Store
from diffshortcut.config import config
from diffshortcut.data.person import Person
from diffshortcut.graph import cells, execute
from diffshortcut.models import guided_diffusion, ldm
from diffshortcut.pictures import images
from diffshortcut.stages import protect
from diffshortcut.weights import registry

PIXEL = "guided_diffusion_256_uncond"
LDMS = ("sd14", "sd15", "sd20base", "sd21base", "sd21")
NODES = ("model", "surrogate", "zoo.purifier_ldm", *(f"zoo.ensemble.{n}" for n in LDMS[:2]))
SLOW = pytest.mark.slow
RUNTIME = {"device": "cpu", "threads": 1, "fail_fast": True, "checkpoint_minutes": 10}
ALL = (
    "vae",
    "latent_diffpure",
    "impress",
    "pixel_diffpure",
    "ddspure",
    "gridpure",
    "tvm",
    "noise",
    "sr",
)
SHORT = (
    "pixel_diffpure.t=2",
    "ddspure.one_shot=true",
    "gridpure.iterations=1",
    "gridpure.t=2",
    "tvm.iterations=5",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("weights")
    for name in LDMS:
        official.write_ldm(home / name, name)
    official.write_upscaler(home / "sd_x4_upscaler")
    official.write_pixel(home / PIXEL / "256x256_diffusion_uncond.pt")
    return home


def _standing_in(entry: registry.Entry, folder: Path) -> registry.Entry:
    there = {file.path: folder / file.path for file in entry.files}
    sums = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in there.items()
        if path.is_file()
    }
    files = (replace(file, sha256=sums.get(file.path, file.sha256)) for file in entry.files)
    return replace(entry, files=tuple(files))


@pytest.fixture
def full_zoo(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins are where weights are looked for, and the registry's hashes are theirs."""
    monkeypatch.setenv("DIFFSHORTCUT_WEIGHTS", str(home))
    entries = {name: _standing_in(entry, home / name) for name, entry in registry.entries().items()}
    monkeypatch.setattr(registry, "entries", lambda: entries)
    small = partial(guided_diffusion.build, **official.pixel_options())
    monkeypatch.setattr(guided_diffusion, "build", small)
    monkeypatch.setattr(protect, "HELD_OUT", 2)


@pytest.fixture
def person(tmp_path: Path) -> Person:
    sets = {}
    for number, name in enumerate(("set_A", "set_B", "set_C")):
        names = [f"{name}{i}.png" for i in range(2)]
        written = images.write_folder(tmp_path / name, tiny_zoo.pictures(2, number), names)
        sets[name] = tuple(written)
    return Person("anna", **sets)


@pytest.fixture
def packages(home: Path, tiny_clip_folder: Path) -> None:
    """Files of the roles that packages fill, beside the diffusion models."""
    models = full_files.package("torchvision.models")
    made = {
        "antelopev2/scrfd_10g_bnkps.onnx": full_files.scrfd,
        "antelopev2/glintr100.onnx": full_files.arcface,
        "vgg_face/vgg_face_weights.pth": full_files.vgg_face,
        "retinaface_resnet50/detection_Resnet50_Final.pth": full_files.retinaface,
        "parsenet/parsing_parsenet.pth": full_files.parsenet,
        "codeformer/codeformer.pth": full_files.codeformer,
        "liqe/LIQE.pt": lambda path: torch.save(full_files.openai_clip().state_dict(), path),
        "lpips_vgg/vgg16-397923af.pth": lambda path: torch.save(models.vgg16().state_dict(), path),
    }
    for name, write in made.items():
        (home / name).parent.mkdir(exist_ok=True)
        write(home / name)
    folder = home / "clip_vit_b32"
    official.write_tokenizer(folder, "<|endoftext|>")
    shutil.copy(tiny_clip_folder / "config.json", folder)
    torch.save(load_file(tiny_clip_folder / "model.safetensors"), folder / "pytorch_model.bin")


@pytest.fixture
def others(tmp_path: Path) -> list[str]:
    """Overrides for the roles that are no diffusion model."""
    (tmp_path / "perceptual").mkdir()
    weights = tiny_zoo.recognizer_b(tmp_path / "perceptual")
    return [
        "zoo.perceptual._target_=diffshortcut.models.perceptual.load",
        f"zoo.perceptual.weights=file:{weights}",
        "~zoo.perceptual.net",
    ]


@pytest.fixture
def walk(full_zoo: None, person: Person, others: list[str], tmp_path: Path) -> Callable:
    """Runs a cell of a small `name`, up to generate or `scored`; gives its artifacts by task."""

    def walk(name: str, *overrides: str, scored: bool = False) -> dict[str, Path]:
        side = official.resolution(name)
        sizes = [f"{node}.resolution={official.resolution('sd14')}" for node in NODES[1:]]
        given = ["zoo=full", "debug=quick", f"model={name}", *sizes, *overrides]
        given += [] if scored else others
        if not any(word.startswith("surrogate=") for word in overrides):
            given.remove(f"surrogate.resolution={official.resolution('sd14')}")
        cfg = config.resolve(config.compose([*given, f"model.resolution={side}"]))
        config.check(cfg)
        assert cfg["zoo"]["resolution"] == side
        cell = cells.plan(cfg if scored else {**cfg, "metric": {}}, person)
        store = Store(tmp_path / "store")
        failures = execute.run(cells.merge([cell]), store=store, runtime=RUNTIME)
        assert [failure.reason for failure in failures] == []
        return {task: store.find(found.stage, found.key) for task, found in cell.items()}

    return walk


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_every_family_of_purifiers_in_one_walk(walk: Callable, home: Path) -> None:
    chain = [f"purifier.{word}" for word in SHORT]
    made = walk("sd21base", "attack=aspl", f"purifier=[{','.join(ALL)}]", *chain)
    assert [task for task in made if task.startswith("purify.")] == [f"purify.{n}" for n in ALL]
    side = official.resolution("sd21base")
    before = images.read_folder(made["protect"] / "images")
    for name in ALL:
        after = images.read_folder(made[f"purify.{name}"] / "images")
        assert after.shape == (2, 3, side, side) and not after.equal(before), name
        before = after
    generated = images.files(made["generate"] / "images")
    assert len(generated) == 4 and images.read_files(generated).shape[-1] == side
    base = ldm.load(weights="full:sd21base")
    trained = base.with_weights(made["personalize"])
    pairs = zip(base.trainable_parameters(), trained.trainable_parameters(), strict=True)
    assert any(not a.equal(b) for a, b in pairs)


@pytest.mark.parametrize("name", [*(pytest.param(n, marks=SLOW) for n in LDMS[:3]), "sd21"])
def test_every_model_walks_through_all_stages(walk: Callable, name: str) -> None:
    made = walk(name, "attack=aspl", "purifier=vae")
    side = official.resolution(name)
    for task in ("prior", "protect", "purify.vae", "generate"):
        assert images.read_folder(made[task] / "images").shape[-2:] == (side, side), task
    facts = json.loads((made["protect"] / "facts.json").read_text())
    assert 0 < facts["max"] <= 11 and log(made["personalize"])[0]["loss"] > 0


def test_a_surrogate_of_another_resolution(walk: Callable) -> None:
    """It learns and attacks at the victim's: its class images are resized."""
    made = walk("sd21", "attack=aspl", "surrogate=sd14", "purifier=none")
    assert images.read_folder(made["prior.surrogate"] / "images").shape[-1] == 64
    assert images.read_folder(made["protect"] / "images").shape[-1] == 96


@SLOW
@pytest.mark.parametrize("attack", ["metacloak", "mist", "photoguard_diffusion", "sds"])
def test_attacks_of_other_kinds(walk: Callable, attack: str) -> None:
    made = walk("sd21base", f"attack={attack}", "purifier=none")
    assert json.loads((made["protect"] / "facts.json").read_text())["max"] > 0


@SLOW
def test_an_ensemble_of_models_of_both_generations(walk: Callable) -> None:
    """SD 1.4, 1.5 and 2.1-base, whose text encoders differ, attack at once."""
    made = walk("sd21base", "attack=easpl", "zoo.ensemble.sd21base.resolution=64", "purifier=none")
    assert json.loads((made["protect"] / "facts.json").read_text())["max"] > 0


def test_what_was_trained_is_a_folder_that_diffusers_reads(walk: Callable, home: Path) -> None:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    made = walk("sd14", "attack=random", "purifier=none")
    trained = ldm.load(weights="full:sd14").with_weights(made["personalize"])
    for kind, part in ((UNet2DConditionModel, "unet"), (CLIPTextModel, "text_encoder")):
        read = kind.from_pretrained(made["personalize"] / part, local_files_only=True)
        ours = getattr(trained, part).state_dict()
        assert all(value.equal(ours[key]) for key, value in read.state_dict().items())


@pytest.mark.full
def test_nothing_is_left_out(packages: None, walk: Callable) -> None:
    """The main job with every role of conf/zoo/full.yaml: CodeFormer with its faces, all scores."""
    made = walk("sd21base", "attack=metacloak", "purifier=ours", scored=True)
    side = official.resolution("sd21base")
    for task in ("purify.codeformer", "purify.sr", "generate"):
        assert images.read_folder(made[task] / "images").shape[-2:] == (side, side), task
    found = {}
    for task in ("score.ims", "score.quality", "score.faithfulness"):
        for row in map(json.loads, (made[task] / "rows.jsonl").open()):
            found.setdefault(row["metric"], []).append(row["value"])
    assert {"ims", "q", "liqe", "clip_iqac", "no_face", "perceptual_protected"} <= set(found)
    assert all(torch.tensor(values).isfinite().all() for values in found.values())
