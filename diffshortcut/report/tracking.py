"""Weights & Biases: a view of the rows that can neither block a run nor lose anything.

A child process writes an offline run; if the user is logged in, `wandb sync` uploads it under a
time limit. What is not uploaded in time stays on disk, and `wandb sync` finishes it later.
"""

import hashlib
import json
import logging
import netrc
import os
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
WRITE_SECONDS = 60.0  # of local writing: usually 4
LEAST_SECONDS = 2.0  # for an upload, however long the writing took


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
    It is written below `folder`/wandb. Writing and upload together get `timeout` seconds, the
    upload at least two. Respects WANDB_MODE (disabled, offline).
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
    mode = os.environ.get("WANDB_MODE", "online")
    content = json.dumps([spec["rows"], spec["config"]], sort_keys=True, default=str)
    identity = hashlib.sha256(content.encode()).hexdigest()[:16]
    if mode == "disabled" or _runs(folder, identity):
        return
    folder.mkdir(parents=True, exist_ok=True)
    spec["settings"] |= {"id": identity, "dir": str(folder)}
    _child([sys.executable, "-P", str(CHILD)], spec, folder, WRITE_SECONDS)
    [run] = _runs(folder, identity)
    if mode == "offline" or not logged_in():
        log.info("W&B: offline run %s (upload: wandb sync %s)", identity, run)
        return
    sync = [sys.executable, "-m", "wandb", "sync", "--yes", str(run)]
    try:
        _child(sync, None, folder, max(LEAST_SECONDS, deadline - time.monotonic()))
    except (TimeoutError, RuntimeError) as error:
        log.warning("W&B: not uploaded (%s); upload it later with: wandb sync %s", error, run)


def _runs(folder: Path, identity: str) -> list[Path]:
    return sorted(folder.glob(f"wandb/offline-run-*-{identity}"))


def _child(command: list[str], spec: dict[str, Any] | None, folder: Path, seconds: float) -> None:
    """Run a command for at most `seconds`, then end its whole process group."""
    # its error reports wait for a server even when the run is offline
    quiet = {"WANDB_SILENT": "true", "WANDB_CONSOLE": "off", "WANDB_ERROR_REPORTING": "false"}
    with (folder / "wandb.log").open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **quiet},
            cwd=folder,
            start_new_session=True,
        )
        try:
            process.communicate(json.dumps(spec, default=str).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"no answer within {seconds:.0f} s, see {output.name}") from None
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
