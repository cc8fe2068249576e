"""Weights & Biases: a view of the rows that can neither block a run nor lose anything.

A child process writes an offline run; if the user is logged in and has not switched W&B off or
offline, `wandb sync` uploads it. Both together have one time limit. A run that is not uploaded in
time stays on disk, and `wandb sync` finishes it later; one that is not written in time is given up.
"""

import hashlib
import json
import logging
import netrc
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

log = logging.getLogger(__name__)
CHILD = Path(__file__).with_name("wandb_child.py")
DONE = "done"  # in a run's folder, written last: the mode that W&B is in for the user
UPLOADED = ("online", "run")  # modes; all others stay on disk: offline, dryrun


def log_run(
    *,
    rows: Sequence[Mapping[str, Any]],
    gallery: Path,
    folder: Path,
    config: Mapping[str, Any],
    project: str,
    group: str,
    job_type: str,
    timeout: float = 10.0,
) -> None:
    """Log all rows, their means per arm and the gallery, once per content; never raises.

    The run's id is a hash of rows and config, so the same result is the same run whoever logs it.
    It is written below `folder`/wandb, anew if an earlier call did not finish it. Writing (usually
    4 seconds) and upload together get `timeout` seconds. Respects the mode that wandb itself takes
    from WANDB_MODE and its settings files (`wandb disabled`, `wandb offline`).
    """
    spec = {
        "rows": [dict(row) for row in rows],
        "gallery": str(gallery.absolute()),
        "config": dict(config),
        "settings": {"project": project, "group": group, "job_type": job_type},
    }
    try:
        _log(spec, folder.absolute(), time.monotonic() + timeout)
    except Exception as error:  # a view must never fail what it shows
        log.warning("W&B: not logged (%s); the rows are in their files", error)


def _log(spec: dict[str, Any], folder: Path, deadline: float) -> None:
    content = json.dumps([spec["rows"], spec["config"]], sort_keys=True, default=str)
    identity = hashlib.sha256(content.encode()).hexdigest()[:16]
    runs = f"wandb/offline-run-*-{identity}"
    if os.environ.get("WANDB_MODE") == "disabled" or list(folder.glob(f"{runs}/{DONE}")):
        return
    for partial in folder.glob(runs):
        shutil.rmtree(partial)
    folder.mkdir(parents=True, exist_ok=True)
    spec["settings"] |= {"id": identity, "dir": str(folder)}
    _child([sys.executable, "-P", str(CHILD), DONE], spec, folder, deadline)
    for done in folder.glob(f"{runs}/{DONE}"):  # none if W&B is disabled in its settings
        _upload(done.parent, done.read_text(), folder, deadline)


def _upload(run: Path, mode: str, folder: Path, deadline: float) -> None:
    if mode not in UPLOADED or not logged_in():
        log.info("W&B: offline run (upload: wandb sync %s)", run)
        return
    sync = [sys.executable, "-P", "-m", "wandb", "sync", "--yes", str(run)]
    try:
        _child(sync, None, folder, deadline)
        if not list(run.glob("*.synced")):  # it exits with 0 even if the server refuses
            raise RuntimeError(f"the server did not take it, see {folder / 'wandb.log'}")
    except (TimeoutError, RuntimeError) as error:
        log.warning("W&B: not uploaded (%s); upload it later with: wandb sync %s", error, run)


def _child(command: list[str], spec: dict[str, Any] | None, folder: Path, deadline: float) -> None:
    """Run a command until `deadline` (of the monotonic clock), then end its whole process group.

    It runs in the user's own folder, where `wandb offline` has left its settings.
    """
    # its error reports wait for a server even when the run is offline
    quiet = {"WANDB_SILENT": "true", "WANDB_CONSOLE": "off", "WANDB_ERROR_REPORTING": "false"}
    with (folder / "wandb.log").open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **quiet},
            start_new_session=True,
        )
        try:
            seconds = max(deadline - time.monotonic(), 0)
            process.communicate(json.dumps(spec, default=str).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"not done in time, see {output.name}") from None
        finally:
            _end(process)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}, see {folder / 'wandb.log'}")


def _end(process: subprocess.Popen) -> None:
    """Kill whatever is left of a child's session: wandb starts a service of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def logged_in() -> bool:
    """Whether an API key is at hand, in the environment or in ~/.netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
