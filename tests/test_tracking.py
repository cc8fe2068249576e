"""W&B as a view: complete offline, and never in the way."""

import json
import socket
import time

import pytest
from PIL import Image

from diffshortcut.report import tracking

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


def log(tmp_path, timeout=60.0):
    picture = tmp_path / "gallery.png"
    Image.new("RGB", (8, 8)).save(picture)
    tracking.log_run(
        rows=ROWS,
        gallery=picture,
        folder=tmp_path / "out",
        config={"seed": 0},
        project="diffshortcut",
        group="quickstart",
        job_type="compare",
        timeout=timeout,
    )
    return sorted((tmp_path / "out").glob("wandb/offline-run-*"))


def test_offline_run_holds_every_row_once(tmp_path):
    [run] = log(tmp_path)
    [table] = run.glob("files/media/table/rows_*.json")
    content = json.loads(table.read_text())
    cells = [[row[column] for column in content["columns"]] for row in ROWS]
    assert content["data"] == cells
    assert len(list(run.glob("files/media/images/gallery_*.png"))) == 1
    stamp = (run / tracking.DONE).stat().st_mtime_ns
    assert not list((tmp_path / "project").iterdir())
    assert log(tmp_path) == [run]  # the same result again is the same run
    assert (run / tracking.DONE).stat().st_mtime_ns == stamp


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


def test_a_broken_wandb_is_only_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking.sys, "executable", "/bin/false")
    assert log(tmp_path) == []
    assert "not logged" in caplog.text
