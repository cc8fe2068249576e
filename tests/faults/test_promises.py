"""The twelve promises of docs/promises.md, one test each, on whole runs."""

import json
import re
import signal
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from broken_world import TINY, World
from PIL import Image

from diffshortcut import result_files
from diffshortcut.artifacts import artifact
from diffshortcut.pictures.images import read
from diffshortcut.seeding import Draws

pytestmark = [pytest.mark.faults, pytest.mark.slow]
Tried = Callable[[str], None]
KIND = "promise"


def rows(world: World) -> list[dict]:
    """All rows of the only results."""
    [path] = world.outputs.glob("*/rows.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_promise_1_a_stage_is_complete_only_if_its_marker_verifies(
    reference: World, tmp_path: Path, tried: Tried
) -> None:
    world = reference.lacking(tmp_path / "world", "generate")
    tried(KIND)
    commit = {"place": "diffshortcut.artifacts.artifact:_write_marker", "number": signal.SIGKILL}
    assert world.run(signal_at=commit) == -9
    assert not (world.store / "generate").exists() and list((world.store / "tmp").iterdir())
    assert world.run() == 0, world.said
    world.check_complete(reference)  # the same bytes, and tmp is empty


def test_promise_2_what_is_corrupt_is_quarantined_and_made_again(
    reference: World, tmp_path: Path, tried: Tried
) -> None:
    world = reference.lacking(tmp_path / "world")
    tried(KIND)
    path = next(world.store.glob("protect/*/images/*.png"))
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1])
    assert world.run() == 0, world.said
    [kept] = (world.store / "quarantine").iterdir()
    assert (kept / "images" / path.name).read_bytes() == content[:-1]
    world.check_complete(reference)


def test_promise_3_of_two_processes_on_one_cell_one_computes(
    reference: World, tmp_path: Path, tried: Tried
) -> None:
    world = reference.lacking(tmp_path / "world", "personalize")
    tried(KIND)
    note = {"place": "diffshortcut.artifacts.provenance:cost", "file": str(tmp_path / "made")}
    pids = [world.start(note=note) for _ in range(2)]
    assert [world.wait(pid) for pid in pids] == [0, 0], world.said
    assert (tmp_path / "made").read_text() == "x"
    world.check_complete(reference)


def test_promise_4_equal_config_and_seed_give_equal_bytes(reference: World, world: World) -> None:
    assert world.run() == 0, world.said
    world.check_complete(reference)
    draws = Draws(0, "protect", "ann")
    whole = draws.normal("noise", (3,), 4, step=7)
    draws.normal("something else", (2,), 9)
    parts = [draws.normal("noise", (3,), [i], step=7) for i in (2, 0, 3, 1)]
    assert torch.equal(whole[[2, 0, 3, 1]], torch.cat(parts))


def test_promise_5_a_resumed_run_equals_an_unbroken_one(
    reference: World, world: World, tmp_path: Path, tried: Tried
) -> None:
    tried(KIND)
    steps = {"place": "diffshortcut.attacks.pgd:project", "file": str(tmp_path / "steps")}
    stop = {"place": steps["place"], "number": signal.SIGKILL, "at": 7}
    assert world.run(signal_at=stop) == -9
    assert world.run(note=steps) == 0, world.said
    assert len((tmp_path / "steps").read_text()) == 3  # of ten: it went on after the seventh
    world.check_complete(reference)


def test_promise_6_what_is_not_finite_fails_by_name_and_never_reaches_a_file(
    reference: World, tmp_path: Path, tried: Tried
) -> None:
    world = reference.lacking(tmp_path / "world", "protect")
    tried(KIND)
    broken = {"place": "torch.autograd:grad", "number": "nan", "at": 3}
    assert world.run(value=broken) == 1
    assert re.search(r"attack step \d+, image 04\.png: loss", world.said)
    for path in world.root.rglob("*.json*"):
        assert not re.search(r"\bNaN\b|\bInfinity\b", path.read_text()), path


def test_promise_7_a_failed_cell_stops_no_other_and_is_told(world: World, tried: Tried) -> None:
    tried(KIND)
    error = {"kind": "RuntimeError", "message": "it broke"}
    place = "diffshortcut.stages.personalize:run"
    assert world.run("data.people=2", error={"place": place, **error}) == 1
    assert {row["person"] for row in rows(world)} == {"person_001"}
    assert "not done: personalize person_000" in world.said and "it broke" in world.said
    for name in ("table.txt", "table.md"):
        [table] = world.outputs.glob(f"*/{name}")
        assert "Not done: personalize person_000" in table.read_text()
    assert not list(world.outputs.glob(f"*/{result_files.RECORD}"))


def test_promise_8_without_wandb_the_run_finishes_and_its_files_are_the_truth(
    reference: World, tmp_path: Path, tried: Tried
) -> None:
    world = reference.lacking(tmp_path / "world")
    tried(KIND)
    world.overrides.remove("logger=none")
    dead = {
        "WANDB_API_KEY": "0" * 40,
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "WANDB_MODE": "online",
    }
    assert world.run("logger.timeout=10", environment=dead) == 0, world.said
    world.check_complete(reference)
    assert "upload later with: wandb sync" in world.said or "not logged" in world.said


def test_promise_9_a_protection_is_checked_on_the_files_it_wrote(
    reference: World, tmp_path: Path, tried: Tried
) -> None:
    [folder] = reference.store.glob("protect/*")
    facts = json.loads((folder / "facts.json").read_text())
    paths = sorted((folder / "images").iterdir())
    person = artifact.read_marker(folder)["provenance"]["person"]
    originals = sorted(Path("diffshortcut/mini/portraits_data", person, "set_B").iterdir())
    moved = [
        (read(a) * 255 - read(b, 128) * 255).round().abs().max()
        for a, b in zip(paths, originals, strict=True)
    ]
    assert all(Image.open(path).size == (128, 128) for path in paths)
    assert max(moved) == facts["max"] <= facts["radius"] == 11
    assert facts["no_slope"] == [] and {"clean", "protected", "random"} <= facts["objective"].keys()
    assert facts["objective"]["protected"] > facts["objective"]["random"]
    world = reference.lacking(tmp_path / "world", "protect")
    tried(KIND)
    far = {"place": "diffshortcut.attacks.pgd:project", "number": "2", "at": 9}
    assert world.run(value=far) == 1 and "levels, radius 11" in world.said


def test_promise_10_an_image_without_a_face_is_counted(
    reference: World, tmp_path: Path, tried: Tried
) -> None:
    world = reference.lacking(tmp_path / "world", "score")
    tried(KIND)
    assert world.run(faceless={}) == 0, world.said
    found = {row["sample"]: row for row in rows(world) if row["metric"] == "no_face"}
    ims = [row for row in rows(world) if row["metric"] == "ims"]
    assert len(ims) == 2 * 4 and {row["value"] for row in found.values()} == {1.0}
    assert all(row["value"] == 0 for row in ims)
    [table] = world.outputs.glob("*/table.md")
    assert "no face" in table.read_text()


def test_promise_11_no_network_is_needed(reference: World, world: World, tried: Tried) -> None:
    tried(KIND)
    assert world.run(no_network={}) == 0, world.said
    assert "ASKED THE NETWORK" not in world.said
    world.check_complete(reference)


def test_promise_12_the_record_says_what_made_the_result(reference: World) -> None:
    [path] = reference.outputs.glob("*/record.json")
    record = json.loads(path.read_text())
    assert record["overrides"] == TINY
    [cell] = record["stages"]["photoguard_encoder+jpeg"].values()
    for stage in cell.values():
        assert {"git", "packages", "device", "threads", "seconds", "peak_memory"} <= stage.keys()
        assert {"config", "seed", "key", "parents", "pictures", "weights"} <= stage.keys()
        assert stage["packages"]["torch"] == version("torch")
    assert cell["protect"]["weights"]["mini:mini_a"] and cell["protect"]["pictures"]["set_B"]
    assert record["files"].keys() == {p.name for p in path.parent.iterdir()} - {
        "record.json",
        ".guard",
    }
