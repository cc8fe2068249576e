"""W&B as a view: complete offline, and never in the way."""

import base64
import hashlib
import json
import socket
import subprocess
import sys
import time
from functools import cache
from types import SimpleNamespace

import pytest
import yaml
from hydra.types import RunMode
from PIL import Image
from result_folders import Arm, Folder

from diffshortcut.config import catalog, sweep
from diffshortcut.report import tracked, tracking
from diffshortcut.report.facts import Baselines, Facts
from diffshortcut.report.worst import Worst

NOTHING = {"tables": {}, "pictures": tracked.pictures({}), "files": [], "means": {}}  # to be shown
ROWS = [
    {
        "arm": arm,
        "person": "p0",
        "metric": "ims",
        "value": value + i / 100,
        "prompt": "a photo",
        "sample": i,
        "better": "higher",
    }
    for arm, value in (("clean", 0.5), ("protected", 0.1))
    for i in range(3)
]


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No account, no settings and no home of the machine that tests."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(tracking, "_silent", set())


@pytest.fixture
def silent_server():
    """A server that accepts and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def uploads(monkeypatch):
    """The runs that would have been uploaded by one who is logged in."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    child, found = tracking._child, []

    def spy(command, *rest):
        if "sync" in command:
            found.append(command[-1])
        else:
            child(command, *rest)

    monkeypatch.setattr(tracking, "_child", spy)
    return found


def log(tmp_path, timeout=60.0, rows=ROWS):
    picture = tmp_path / "gallery.png"
    Image.new("RGB", (8, 8)).save(picture)
    tracking.log_run(
        rows=rows,
        gallery=picture,
        folder=tmp_path / "out",
        config={"seed": 0},
        project="diffshortcut",
        group="quickstart",
        timeout=timeout,
        **NOTHING,
        stages={},
    )
    return sorted((tmp_path / "out").glob("wandb/offline-run-*"))


def test_offline_run_holds_every_row_once(tmp_path):
    [run] = log(tmp_path)
    [table] = run.glob("files/media/table/rows_*.json")
    content = json.loads(table.read_text())
    assert "training_seed" in content["columns"]
    cells = [[row.get(column) for column in content["columns"]] for row in ROWS]
    assert content["data"] == cells
    assert len(list(run.glob("files/media/images/gallery_*.png"))) == 1
    stamp = (run / tracking.DONE).stat().st_mtime_ns
    assert not list((tmp_path / "project").iterdir())
    assert log(tmp_path) == [run]  # the same result again is the same run
    assert (run / tracking.DONE).stat().st_mtime_ns == stamp


def test_more_rows_than_wandb_shows_are_kept(tmp_path):
    [run] = log(tmp_path, rows=ROWS * 2000)
    [table] = run.glob("files/media/table/rows_*.json")
    assert len(json.loads(table.read_text())["data"]) == len(ROWS) * 2000 > 10_000


def test_a_half_written_run_is_written_again(tmp_path):
    [run] = log(tmp_path)
    (run / tracking.DONE).unlink()  # as if the writer had been killed before
    (run / "partial").touch()
    [again] = log(tmp_path)
    assert (again / tracking.DONE).is_file() and not (again / "partial").exists()


def test_what_is_not_written_in_time_is_given_up(tmp_path, caplog):
    start = time.monotonic()
    log(tmp_path, timeout=0.2)
    assert time.monotonic() - start < 5
    assert "not logged (not done in time" in caplog.text
    assert not list((tmp_path / "out").glob(f"wandb/*/{tracking.DONE}"))


@pytest.mark.parametrize(
    ("settings", "environment", "written", "uploaded"),
    [
        (None, None, 1, 1),
        ("offline", None, 1, 0),
        ("disabled", None, 0, 0),
        (None, "dryrun", 1, 0),
        (None, "disabled", 0, 0),
    ],
)
def test_who_switched_wandb_off_uploads_nothing(
    tmp_path, monkeypatch, uploads, settings, environment, written, uploaded
):
    if settings:  # what `wandb offline` and `wandb disabled` write into the user's folder
        (tmp_path / "project" / "wandb").mkdir()
        (tmp_path / "project" / "wandb" / "settings").write_text(f"[default]\nmode = {settings}\n")
    if environment:
        monkeypatch.setenv("WANDB_MODE", environment)
    runs = log(tmp_path)
    assert (len(runs), len(uploads)) == (written, uploaded)
    assert uploads == [str(run) for run in runs][:uploaded]


def test_a_server_that_never_answers_delays_by_seconds(
    tmp_path, monkeypatch, silent_server, caplog
):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, silent_server)
    start = time.monotonic()
    [run] = log(tmp_path, timeout=10)
    assert time.monotonic() - start < 13
    assert list(run.glob("files/media/table/rows_*.json"))
    assert f"wandb sync {run}" in caplog.text


def test_a_sweep_waits_once_for_a_server_that_never_answers(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    asked = []

    def child(command, *rest):
        asked.append(command)
        raise TimeoutError("not done in time")

    monkeypatch.setattr(tracking, "_child", child)
    runs = [[tmp_path / name] for name in ("late", "first", "second", "third")]
    tracking._upload(runs[0], "online", tmp_path, time.monotonic() - 1)  # writing took it all
    for run in runs[1:]:
        tracking._upload(run, "online", tmp_path, time.monotonic() + 60)
    assert len(asked) == 2 and caplog.text.count("stays offline") == 1
    for [run] in runs:
        assert f"wandb sync {run}" in caplog.text
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    tracking._upload(runs[1], "online", tmp_path, time.monotonic() + 60)
    assert len(asked) == 3


def test_a_broken_wandb_is_only_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking.sys, "executable", "/bin/false")
    assert log(tmp_path) == []
    assert "not logged" in caplog.text


def ids(monkeypatch, tmp_path, made=("abc", "cpu"), **changes):
    """The ids of the runs that a call would write, of a stage `made` with a key on a device."""
    found = []
    monkeypatch.setattr(tracking, "_log", lambda runs, *_: found.extend(run["id"] for run in runs))
    given = {"rows": ROWS, "project": "p", "group": "g", "config": {"seed": 0}, **changes}
    key, device = made
    cost = {"seconds": time.monotonic(), "peak_memory": id(found), "device": device, "git": device}
    told = {**TOLD, **cost, "stage": "protect", "key": key, "person": "p0"}
    stages = tracked.stages([("aspl", "protect", told)])
    place = {"gallery": tmp_path / "gallery.png", "folder": tmp_path}
    tracking.log_run(**given, **place, **NOTHING, timeout=10.0, stages=stages)
    return found


def test_the_same_result_elsewhere_is_the_same_run_and_another_group_has_its_own(
    monkeypatch, tmp_path
):
    usual = ids(monkeypatch, tmp_path)
    cost = {**ROWS[0], "metric": "seconds.protect", "value": 9.0}
    config = {"seed": 0, "runtime": {"store": "elsewhere"}, "logger": {"timeout": 1}}
    there = {"made": ("abc", "cuda"), "rows": [*ROWS, cost], "config": config}
    assert ids(monkeypatch, tmp_path, **there) == usual
    for changes in ({"group": "h"}, {"project": "q"}):
        assert not set(ids(monkeypatch, tmp_path, **changes)) & set(usual)
    assert ids(monkeypatch, tmp_path, rows=ROWS[1:])[0] != usual[0]
    assert ids(monkeypatch, tmp_path, made=("abd", "cpu"))[1] != usual[1]


def test_jobs_of_a_sweep_share_a_group(monkeypatch):
    """In another process too, whose command line is not the sweep's: a Slurm job's."""
    assert tracked._sweep() is None
    for variable in (sweep.JOBS, sweep.NAME):
        monkeypatch.setenv(variable, "")  # is put back
    words = ["attack=aspl,mist", "hydra/launcher=graph"]
    sweep.tell_jobs(sweep.Sweep([["attack=aspl"], ["attack=mist"]], True), words)
    monkeypatch.setattr(sys, "argv", ["submitit", "folder"])
    monkeypatch.setattr(tracked.HydraConfig, "initialized", staticmethod(lambda: True))
    modes = iter([RunMode.RUN, *[RunMode.MULTIRUN] * 3])
    job = staticmethod(lambda: SimpleNamespace(mode=next(modes)))
    monkeypatch.setattr(tracked.HydraConfig, "get", job)
    assert tracked._sweep() is None
    group = tracked._sweep()
    assert group.startswith("sweep-")
    sweep.tell_jobs(None, words[:1])  # of a sweep that only Hydra knows; launched otherwise
    assert tracked._sweep() == group
    sweep.tell_jobs(None, ["attack=aspl,pid"])
    assert tracked._sweep() != group


def test_worst_of_arms_are_in_the_matrix():
    arms = [Arm("none"), Arm("aspl", "ours"), Arm("advdm", "ours")]
    rows = [{**row, "arm": arm.name} for arm in arms for row in ROWS[:1]]
    chosen = {"adaptive": Worst(("aspl+ours", "advdm+ours"), {"p0": "advdm+ours"})}
    copies = chosen["adaptive"].rows("adaptive", rows)
    names = [*(arm.name for arm in arms), "adaptive"]
    facts = Facts(names, [*rows, *copies], Baselines("clean", {}), worst=chosen)
    found = [line[:2] for line in tracked.tables(facts, arms)["matrix"]["data"]]
    assert ["adaptive", "ours"] in found and len(found) == 4


# ---- a whole comparison: its own run, and one per kind of stage


TOLD = {"seconds": 1.5, "peak_memory": 9, "device": "cpu", "git": "abc", "facts": {}}
TOLD |= {"out_of_memory": [8, 4]}


@pytest.fixture
def result(tmp_path):
    """Log the comparison of a result folder and return the folder and the runs by job type."""
    arms = [Arm("none"), Arm("aspl"), Arm("aspl", "jpeg")]
    people = [f"person_{n:03}" for n in range(8)]
    claim = {"metric": "ims", "arm": "aspl+jpeg", "rivals": ["aspl"]}
    folder = Folder(tmp_path, "table-1a2b", arms, people, [claim]).write()

    def log_all(timeout=60.0):
        logger = {"name": "wandb", "project": "p", "group": None, "timeout": timeout}
        logged = [LoggedArm(arm, logger) for arm in arms]
        rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
        facts = Facts([a.name for a in arms], rows, Baselines("clean", {"aspl+jpeg": "aspl"}))
        told = [
            (arm.name, "protect", {**TOLD, "stage": "protect", "key": arm.attack, "person": None})
            for arm in arms
        ]
        picture = next(tmp_path.glob("store/protect/*/images/*.png"))
        start = time.monotonic()
        tracked.log(logged[-1], logged, facts, told, folder, {"aspl": {"protected": [picture]}})
        return time.monotonic() - start, sorted(tmp_path.glob("wandb/offline-*"))

    return folder, log_all


class LoggedArm:
    """An arm whose config names a logger."""

    def __init__(self, arm, logger):
        self.name, self.choices = arm.name, {**arm.choices, "experiment": "table1"}
        self.config = {**arm.config, "logger": logger}


@cache
def records(run):
    """Everything that W&B's own reader finds in a run."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def read(run, kind):
    """The records of a kind."""
    return [record[kind] for record in records(run) if record["type"] == kind]


def by_job(runs):
    return {read(run, "run")[0]["job_type"]: run for run in runs}


def table_of(run, name):
    """A table as the run's history names its file, whose content is as recorded."""
    [item] = [record["item"] for record in read(run, "history")]
    content = (run / "files" / item[f"{name}.path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == item[f"{name}.sha256"]
    return json.loads(content)


def test_what_is_read_back_is_what_the_local_files_hold(result):
    folder, log_all = result
    _, written = log_all()
    runs = by_job(written)
    assert set(runs) == {"compare", "protect"}
    table = table_of(runs["compare"], "rows")
    local = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert table["data"] == [[row.get(column) for column in table["columns"]] for row in local]
    matrix = table_of(runs["compare"], "matrix")
    found = {tuple(line[:3]): line[3:] for line in matrix["data"]}
    mean, low, high, people, *_ = found["aspl", "jpeg", "ims"]
    ims = [r["value"] for r in local if (r["arm"], r["metric"]) == ("aspl+jpeg", "ims")]
    assert mean == pytest.approx(sum(ims) / len(ims)) and low < mean < high and people == 8
    tests = table_of(runs["compare"], "tests")
    assert {tuple(line[:2]) for line in tests["data"]} == {
        ("aspl", "clean"),
        ("aspl+jpeg", "clean"),
        ("aspl+jpeg", "aspl"),
    }
    artifacts = [record["manifest"]["contents"] for record in read(runs["compare"], "artifact")]
    [pictures] = [held for held in artifacts if "pictures" in str(held)]
    assert [entry["path"].split("/")[:2] for entry in pictures if "png" in entry["path"]] == [
        ["media", "images"]
    ]
    summary: dict = {}
    for record in read(runs["compare"], "summary"):
        summary |= record["update"]
    assert summary["aspl+jpeg/ims"] == pytest.approx(mean)
    stages = table_of(runs["protect"], "stages")["data"]
    assert [line[1:4:2] for line in stages] == [["none", "clean"], ["aspl", "aspl, aspl+jpeg"]]
    assert {line[tracked.STAGES.index("too_large")] for line in stages} == {"8, 4"}
    for run in runs.values():
        [told] = read(run, "run")
        assert (told["run_group"], told["project"], told["resume"]) == ("table1", "p", True)
        assert run.name.endswith(told["run_id"])
    artifacts = [a for a in read(runs["compare"], "artifact") if a["type"] == "results"]
    [artifact] = artifacts
    held = {entry["path"]: entry["digest"] for entry in artifact["manifest"]["contents"]}
    content = (folder / "rows.jsonl").read_bytes()
    assert held["rows.jsonl"] == base64.b64encode(hashlib.md5(content).digest()).decode()
    assert set(held) == {"rows.jsonl", "comparison.json", "table.md"}
    assert log_all()[1] == written  # again: the same runs


@pytest.mark.slow
@pytest.mark.alone
def test_a_proxy_that_never_answers_costs_15_seconds_at_most(result, monkeypatch, silent_server):
    """With the shipped timeout, and with every run of a comparison to be uploaded."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, silent_server)
    shipped = yaml.safe_load((catalog.folder() / "logger" / "wandb.yaml").read_text())
    seconds, runs = result[1](timeout=shipped["timeout"])
    assert shipped["timeout"] - 1 < seconds < 15  # it tried to upload, and gave up
    assert len(runs) == 2
