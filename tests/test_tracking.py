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


@pytest.fixture
def silent_server():
    """A server that accepts and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def log(tmp_path):
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
    )
    return sorted((tmp_path / "out").glob("wandb/offline-run-*"))


def test_offline_run_holds_every_row_once(tmp_path):
    [run] = log(tmp_path)
    [table] = run.glob("files/media/table/rows_*.json")
    content = json.loads(table.read_text())
    cells = [[row[column] for column in content["columns"]] for row in ROWS]
    assert content["data"] == cells
    assert len(list(run.glob("files/media/images/gallery_*.png"))) == 1
    assert log(tmp_path) == [run]  # the same result again is the same run


def test_disabled(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert log(tmp_path) == []


def test_a_server_that_never_answers_delays_by_seconds(
    tmp_path, monkeypatch, silent_server, caplog
):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, silent_server)
    start = time.monotonic()
    [run] = log(tmp_path)
    assert time.monotonic() - start <= 15
    assert list(run.glob("files/media/table/rows_*.json"))
    assert f"wandb sync {run}" in caplog.text


def test_a_broken_wandb_is_only_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking.sys, "executable", "/bin/false")
    assert log(tmp_path) == []
    assert "not logged" in caplog.text
