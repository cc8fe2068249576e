"""The plan of a command line: what is there, what is to do, and what like stages took."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from diffshortcut import grid, plan, weights
from diffshortcut.artifacts import keys
from diffshortcut.artifacts.artifact import MARKER
from diffshortcut.artifacts.store import Store
from diffshortcut.cost import columns, forecast, pace
from diffshortcut.cost.estimate import Cost
from diffshortcut.errors import UserError
from diffshortcut.graph import cells
from diffshortcut.job import command
from diffshortcut.launch import board

COMMAND = ["attack=random", "purifier=jpeg", "data.people=2"]


def tasks(*overrides: str) -> list[cells.Task]:
    comparison = command.comparison([*COMMAND, *overrides])
    return cells.merge(cell for of_arm in comparison.cells.values() for cell in of_arm.values())


def record(store: Store, task: cells.Task, seconds: float, key: str = "") -> None:
    """An artifact that took so long."""
    folder = store.path(task.stage, key or task.key)
    folder.mkdir(parents=True)
    told = {
        "stage": task.stage,
        "config": task.config,
        "seconds": seconds,
        "peak_memory": 2 * 10**9,
        "bytes": 10**6,
    }
    (folder / MARKER).write_text(json.dumps({"provenance": told}))


def line(found: list[forecast.Line], stage: str, method: str) -> forecast.Line:
    return next(one for one in found if (one.stage, one.method) == (stage, method))


def test_of_a_new_store_nothing_is_known(tmp_path: Path) -> None:
    found = forecast.lines(tasks(), Store(tmp_path), {})
    assert [one.stage for one in found][:2] == ["prior", "protect"]
    assert all(one.there == 0 and one.seconds == 0 for one in found)
    trained = line(found, "personalize", "DreamBooth")
    assert len(trained.expected) == 6 and trained.cells()[4:7] == [
        "-",
        "-",
        "-",
    ]  # 3 arms, 2 people
    assert forecast.summary(found).endswith("like which none has run here")


def test_what_never_ran_is_told_from_its_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside what has run, which is told from that; unknown stays what cannot be counted."""
    monkeypatch.setattr(pace, "pace", lambda runtime: 1e9)
    told = {
        "personalize": Cost(flops=3e11, trained=4 * 10**6),
        "generate": Cost(reason="no shapes"),
    }
    monkeypatch.setattr(columns, "estimate", lambda task: told.get(task.stage, Cost(flops=1e9)))
    store, planned = Store(tmp_path), tasks()
    record(store, next(task for task in planned if task.stage == "protect"), 90.0)
    found = forecast.roughly(forecast.lines(planned, store, {}), {})
    trained, made = (
        line(found, "personalize", "DreamBooth"),
        line(found, "generate", "ClassifierFree"),
    )
    assert trained.seconds == 6 * 300 and trained.cells()[4:7] == ["~ 30 min", "-", "~ 24 MB"]
    assert made.expected == [None] * 6 and made.cells()[4] == "-"
    assert any(took and took.seconds == 90 and not took.rough for x in found for took in x.expected)
    said = forecast.summary(found)
    assert "2.0 GB of memory, 25.0 MB on the disk or more (" in said
    assert "about ~ " in said and "and 6 like which none" in said


def test_a_disk_that_is_too_small_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a store that is not there yet, too."""
    store, planned = Store(tmp_path), tasks()
    record(store, next(task for task in planned if task.stage == "personalize"), 90.0)
    found = forecast.lines(planned, store, {})
    assert forecast.crowded(found, tmp_path / "not" / "yet") == []
    monkeypatch.setattr(forecast, "free", lambda folder: 3 * 10**6)
    [said] = forecast.crowded(found, tmp_path / "not" / "yet")
    assert "has 3.0 MB free, this needs 5.0 MB or more: runtime.store=FOLDER" in said


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_pace_is_that_of_the_device(device: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("of a machine without such a device")
    found = pace.pace({"device": device, "threads": 1})
    assert found is None if device == "cuda" else found and 1e8 < found < 1e13


def test_other_people_of_the_same_arm_tell_how_long_it_takes(tmp_path: Path) -> None:
    store, planned = Store(tmp_path), tasks()
    trained = [task for task in planned if task.stage == "personalize"]
    record(store, trained[0], 90.0)
    found = line(forecast.lines(planned, store, {}), "personalize", "DreamBooth")
    assert found.there == 1 and len(found.expected) == 5
    assert found.cells()[2:7] == ["1", "5", "8 min", "2.0 GB", "5 MB"]


def test_the_same_config_counts_before_one_with_as_much_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path)
    other = [task for task in tasks("scale.dreambooth_learning_rate=1e-5", "prompts=legacy")]
    [tried, *_] = [task for task in other if task.stage == "personalize"]
    long = [task for task in tasks() if task.stage == "personalize"]
    record(store, tried, 3.0, key="a")
    assert line(forecast.lines(long, store, {}), "personalize", "DreamBooth").seconds == 6 * 3
    record(store, long[0], 90.0, key="b")
    assert line(forecast.lines(long, store, {}), "personalize", "DreamBooth").seconds == 6 * 90


@pytest.mark.parametrize("few", ["scale.dreambooth_steps=4", "model=mini_b", "debug=tiny"])
def test_what_had_less_to_do_tells_nothing(tmp_path: Path, few: str) -> None:
    """A debug preset in the same store would make a long job look short, and nobody be asked."""
    store = Store(tmp_path)
    for place, task in enumerate(tasks(few)):
        record(store, task, 3.0, key=str(place))
    trained = line(forecast.lines(tasks(), store, {}), "personalize", "DreamBooth")
    assert trained.expected == [None] * 6
    shown = board.Board(tasks(), store)
    [done, *others] = [t for t in shown.tasks if t.stage == "personalize"]
    short = [task for task in tasks("debug=tiny") if task.stage == "personalize"]
    both = board.Board([done, *others, *short], Store(tmp_path / "new"))
    both.tell(done, "running")
    both.tell(done, "done")
    assert all(both._expected[task.key] is not None for task in others)
    assert all(both._expected[task.key] is None for task in short)


def test_the_disk_of_a_record_without_bytes_is_that_of_its_files(tmp_path: Path) -> None:
    """As stores of before have them."""
    store, planned = Store(tmp_path), tasks()
    [first, *_] = [task for task in planned if task.stage == "personalize"]
    record(store, first, 90.0)
    marker = store.marker(first.stage, first.key)
    marker.write_text(marker.read_text().replace('"bytes"', '"size"'))
    (marker.parent / "model").write_bytes(bytes(10**5))
    assert line(forecast.lines(planned, store, {}), "personalize", "DreamBooth").disk > 5 * 10**5


def test_broken_records_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "protect" / "x").mkdir(parents=True)
    (tmp_path / "protect" / "x" / MARKER).write_text("{")
    assert forecast.lines(tasks(), Store(tmp_path), {})[0].there == 0


def test_a_finished_command_has_nothing_to_do(tmp_path: Path) -> None:
    store, planned = Store(tmp_path), tasks()
    for task in planned:
        record(store, task, 1.0)
    found = forecast.lines(planned, store, {})
    assert forecast.summary(found) == "nothing to do: every stage is there"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("purifier=jpg", "Did you mean 'jpeg'"),
        ("seed=x", "seed must be int"),
        ("attack=[a", "cannot"),
        ("--vrify", "no option '--vrify'. Did you mean '--verify'?"),
    ],
)
def test_a_mistake_is_one_line(word: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["plan", word])
    with pytest.raises(SystemExit) as ended:
        plan.main()
    assert said in str(ended.value) and "\n" not in str(ended.value)


@pytest.mark.parametrize(("module", "said"), [(plan, "what would run"), (grid, "grid status")])
def test_help_is_an_answer(
    module: Any, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sys, "argv", ["command", "--help"])
    module.main()
    assert said in capsys.readouterr().out


def test_the_quick_command_runs_nothing_and_needs_no_torch(tmp_path: Path, capsys: Any) -> None:
    code = (
        f"import sys; sys.argv[1:] = {[*COMMAND, plan.QUICK]!r}\n"
        "from diffshortcut import plan\nplan.main()\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "personalize" in done.stdout and "stages to do" in done.stdout
    assert "FLOP" not in done.stdout
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_here_are_planned_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Also those that share a release: each once, with the command that brings them."""
    monkeypatch.setenv("DIFFSHORTCUT_WEIGHTS", str(tmp_path / "none"))
    words = ["zoo=full", "data=portraits", "purifier=sr", "runtime.device=cpu", plan.QUICK]
    monkeypatch.setattr(sys, "argv", ["plan", *words])
    plan.main()
    said = capsys.readouterr().out
    assert "SuperResolution" in said and "stages to do" in said
    [fetch] = [line for line in said.splitlines() if "diffshortcut.weights fetch" in line]
    names = fetch.partition("fetch ")[2].split()
    assert len(names) == len(set(names)) and {"sd21base", "sd_x4_upscaler", "liqe"} <= set(names)
    assert "codeformer" not in names
    with pytest.raises(UserError, match="sd21base .* is not in"):
        weights.digest("full:sd21base")


def test_a_digest_of_a_config_is_that_of_the_record(tmp_path: Path) -> None:
    """What is compared goes through JSON on one side only."""
    for task in tasks():
        assert keys.digest(json.loads(json.dumps(task.config))) == keys.digest(task.config)
