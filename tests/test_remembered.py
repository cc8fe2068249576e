"""Models that stay loaded, and the room that they give up."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffshortcut import weights
from diffshortcut.config import config
from diffshortcut.data import portraits
from diffshortcut.graph import cells, device
from diffshortcut.models import faces, perceptual, remembered


@pytest.fixture(autouse=True)
def nothing_loaded() -> None:
    remembered.forget()
    device._loaded.clear()


def make_room(task: cells.Task) -> None:
    device.make_room(task.stage, config.references(task.config))


def test_equal_loads_give_one_net_on_each_device() -> None:
    weights = "mini:recognizer_b"
    net = faces.load_recognizer_b(weights=weights).net
    assert perceptual.load(weights=weights).net is net
    with torch.device("meta"):
        assert faces.load_recognizer_b(weights=weights).net is not net
    remembered.forget()
    assert faces.load_recognizer_b(weights=weights).net is not net


def test_a_stage_with_other_models_has_the_device_to_itself() -> None:
    [person] = portraits.people(people=1)
    cell = cells.plan(config.resolve(config.compose(["purifier=sr"])), person)
    make_room(cell["purify.sr"])
    upscaler = config.build(cell["purify.sr"].config["link"]).upscaler
    make_room(replace(cell["purify.sr"], seed=1))
    assert config.build(cell["purify.sr"].config["link"]).upscaler is upscaler
    make_room(cell["personalize"])
    assert config.build(cell["purify.sr"].config["link"]).upscaler is not upscaler


def test_a_heavy_stage_has_the_device_to_itself_though_all_that_it_wants_is_there() -> None:
    """An adaptive attack has loaded the upscaler and the model: training wants the model alone."""
    [person] = portraits.people(people=1)
    cell = cells.plan(config.resolve(config.compose(["purifier=sr"])), person)
    upscaler = config.build(cell["purify.sr"].config["link"]).upscaler
    for stage, kept in (("purify.sr", True), ("personalize", False)):
        needed = config.references(cell[stage].config)
        device._loaded.update(needed, config.references(cell["purify.sr"].config))
        make_room(cell[stage])
        assert (config.build(cell["purify.sr"].config["link"]).upscaler is upscaler) is kept
    assert device._loaded == needed


def test_what_has_changed_on_the_disk_is_loaded_anew(tmp_path: Path) -> None:
    """A key that is told by the new weights must not hold what the old ones computed."""
    folder = tmp_path / "net"
    shutil.copytree(weights.locate("mini:recognizer_b"), folder)
    first = faces.load_recognizer_b(weights=f"file:{folder}").net
    assert faces.load_recognizer_b(weights=f"file:{folder}").net is first
    file = folder / "model.safetensors"
    save_file({name: 0 * value for name, value in load_file(file).items()}, file)
    second = faces.load_recognizer_b(weights=f"file:{folder}").net
    assert all((value == 0).all() for value in second.state_dict().values())
