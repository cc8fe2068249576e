"""No network; W&B hanging, refusing, dying; and nobody's keys in what is written."""

import shutil
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from broken_world import World

from diffshortcut import result_files
from diffshortcut.report import tracking

pytestmark = pytest.mark.faults
Tried = Callable[[str], None]
TIMEOUT = 12  # seconds that W&B gets
KEYS = {"WANDB_API_KEY": "c0ffee" * 6 + "beef", "HF_TOKEN": "hf_canary" + "Kq7" * 9}


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a server that answers everything with 401."""

    class Refusing(BaseHTTPRequestHandler):
        def _refuse(self) -> None:
            self.send_error(401)

        do_GET = do_POST = do_PUT = _refuse  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def finished(reference: World, tmp_path: Path) -> World:
    """The unbroken run without its results, whose results are to be told to W&B."""
    world = reference.lacking(tmp_path / "world")
    world.overrides.remove("logger=none")
    world.overrides.append(f"logger.timeout={TIMEOUT}")
    return world


def told(world: World, base: str | None, mode: str = "online", **fault: dict) -> float:
    """Run with W&B at an address, as somebody who is logged in; the seconds that it takes."""
    home = world.root / "home"
    home.mkdir(exist_ok=True)
    environment = {name: str(home) for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR")}
    environment |= {**KEYS, "WANDB_MODE": mode, "HTTPS_PROXY": base or "", "NO_PROXY": ""}
    environment |= {"WANDB_BASE_URL": base} if base else {}
    start = time.monotonic()
    assert world.run(environment=environment, **fault) == 0, world.said
    return time.monotonic() - start


def check(world: World, reference: World) -> None:
    """Everything is there, and no key in anything that was written or said."""
    world.check_complete(reference)
    [folder] = [p for p in world.outputs.glob("*-*") if (p / result_files.RECORD).exists()]
    assert "\nincomplete" not in world.said and str(folder.name) in world.said
    for path in world.root.rglob("*"):
        if path.is_file() and not path.is_relative_to(world.root / "home"):
            content = path.read_bytes()
            assert not any(key.encode() in content for key in KEYS.values()), path


@pytest.mark.slow
@pytest.mark.alone
def test_wandb_that_never_answers_delays_by_its_time_only(
    reference: World, finished: World, tried: Tried, silent: str
) -> None:
    tried("W&B hangs")
    assert told(finished, silent) < TIMEOUT + 25
    check(finished, reference)
    assert "wandb sync" in finished.said or "not logged" in finished.said


def test_wandb_that_refuses_is_a_warning(
    reference: World, finished: World, tried: Tried, refusing: str
) -> None:
    tried("W&B refuses")
    told(finished, refusing)
    check(finished, reference)
    assert "wandb sync" in finished.said or "not logged" in finished.said


def test_nobody_listens_where_wandb_should_be(
    reference: World, finished: World, tried: Tried
) -> None:
    tried("W&B is down")
    told(finished, "http://127.0.0.1:9")
    check(finished, reference)
    assert "wandb sync" in finished.said or "not logged" in finished.said


DYING = {
    "at once": "import os; os.kill(os.getpid(), 9)",
    "with an error": "raise ImportError('no wandb')",
    "while it reads": "import os, sys; sys.stdin.read(9); os.kill(os.getpid(), 9)",
    "after a half run": (
        "import json, os, pathlib, sys; s = json.load(sys.stdin); i = s['runs'][0]['id']; "
        "p = pathlib.Path(s['settings']['dir'], 'wandb', f'offline-run-0-{i}'); "
        "p.mkdir(parents=True); (p / 'half').touch(); os.kill(os.getpid(), 9)"
    ),
}


@pytest.mark.parametrize("how", DYING)
def test_wandb_that_dies_is_a_warning_and_the_next_run_writes_it(
    reference: World, finished: World, tried: Tried, how: str
) -> None:
    tried("W&B dies")
    script = finished.root / "dying.py"
    script.write_text(DYING[how])
    told(finished, None, other_child={"script": str(script)})
    check(finished, reference)
    assert "W&B: not logged" in finished.said
    half = list(finished.outputs.glob("wandb/offline-run-*/half"))
    assert len(half) == (how == "after a half run")
    for folder in finished.outputs.glob("*-*"):
        shutil.rmtree(folder)
    told(finished, None, mode="offline")
    check(finished, reference)
    assert list(finished.outputs.glob("wandb/offline-run-*/half")) == []
    written = [
        path.parent.name for path in finished.outputs.glob(f"wandb/offline-run-*/{tracking.DONE}")
    ]
    jobs = 1 + len({path.parent.name for path in finished.stages()})
    assert len(written) == jobs
    assert all(sum(name.endswith(path.parent.name[-16:]) for name in written) == 1 for path in half)


def test_without_a_network_a_whole_cell_runs_and_asks_for_none(
    reference: World, world: World, tried: Tried
) -> None:
    tried("no network")
    world.overrides.remove("logger=none")
    environment = {"HOME": str(world.root), **KEYS, "WANDB_MODE": "offline"}
    assert world.run(environment=environment, no_network={}) == 0, world.said
    assert "ASKED THE NETWORK" not in world.said
    check(world, reference)
    assert list(
        world.outputs.glob(f"wandb/offline-run-*/{tracking.DONE}")
    )  # W&B's child had none either
    if "NOT CUT" in world.said:  # it was only this process that could not ask
        warnings.warn("W&B's child process was not watched: no right to unshare", stacklevel=1)
