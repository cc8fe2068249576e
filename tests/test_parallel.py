"""Processes that train one model together give the model that one process gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffshortcut import parallel
from diffshortcut.dreambooth import Settings, dreambooth_loss
from diffshortcut.models.ldm import load
from diffshortcut.parallel import Team
from diffshortcut.seeding import Draws

SETTINGS = Settings(
    instance_prompt="a photo of sks person",
    class_prompt="a photo of person",
    learning_rate=1e-4,
    prior_weight=0.7,
    instance_batch=3,
    prior_batch=2,
)
JOB = ["attack=none", "purifier=none", "debug=quick", "data.people=1", "logger=none"]
# with --cpu, accelerate launch starts one process, or asks for mpirun
LAUNCHED = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]


def test_every_image_is_of_one_process() -> None:
    shares = [list(Team(3, rank).share(8)) for rank in range(3)]
    assert sorted(sum(shares, [])) == list(range(8)) and min(map(len, shares)) >= 2


def test_the_parts_of_the_loss_add_up(tiny_ldm_folder: Path) -> None:
    model, draws = load(weights=f"file:{tiny_ldm_folder}"), Draws(0, "test", "")
    z = draws.normal("z", model.latent_shape, 5)
    noise = draws.normal("noise", model.latent_shape, 5)
    t = torch.tensor([3, 100, 500, 700, 999])
    whole = dreambooth_loss(model, SETTINGS, z, t, noise)
    parts = [dreambooth_loss(model, SETTINGS, z, t, noise, Team(2, r).share(5)) for r in (0, 1)]
    torch.testing.assert_close(sum(parts), whole)
    context = model.encode_prompt([SETTINGS.instance_prompt, SETTINGS.class_prompt])
    losses = model.denoising_loss(z, context[[0, 0, 0, 1, 1]], t, noise)
    torch.testing.assert_close(whole, losses[:3].mean() + 0.7 * losses[3:].mean())


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert parallel.team() == parallel.ALONE and parallel.in_charge()
    parallel.call("nobody listens")


@pytest.mark.slow
@pytest.mark.alone
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """A whole cell under `accelerate launch`, two processes that talk by gloo."""
    found, losses = {}, {}
    for name, launcher in (("one", [sys.executable]), ("two", LAUNCHED)):
        words = [f"runtime.store={tmp_path / name}", f"runtime.outputs={tmp_path / 'out' / name}"]
        command = [*launcher, "-m", "diffshortcut.run", *JOB, "runtime.threads=1", *words]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Mean per arm") == 1  # one process reports
        (marker,) = (tmp_path / name / "personalize").glob("*/complete.json")
        assert json.loads(marker.read_text())["provenance"]["processes"] == 1 + (name == "two")
        losses[name] = [
            json.loads(line)["loss"]
            for line in (marker.parent / "log.jsonl").read_text().splitlines()
        ]
        found[name] = load_file(marker.parent / "unet" / "diffusion_pytorch_model.safetensors")
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-3)  # a sum, and no mean
    for weight, value in found["one"].items():
        torch.testing.assert_close(found["two"][weight], value, rtol=0, atol=2e-4)
