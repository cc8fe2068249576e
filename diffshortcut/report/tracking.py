"""Weights & Biases: a view of the rows that can neither block a run nor lose anything.

A child process writes offline runs; if the user is logged in and has not switched W&B off or
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
from typing import Any, TypedDict
from urllib.parse import urlparse

from diffshortcut.statistics.rows import COSTS

log = logging.getLogger(__name__)
CHILD = Path(__file__).with_name("wandb_child.py")
CONTENT = ("stage", "key", "person", "arms")  # columns of a table of stages: not cost and place
DONE = "done"  # in a run's folder, written last: the mode that W&B is in for the user
UPLOADED = ("online", "run")  # modes; all others stay on disk: offline, dryrun


_silent: set[str] = set()  # servers that took all the time they were given: asked once a process


class Table(TypedDict):
    """A W&B table as plain values."""

    columns: list[str]
    data: list[list[Any]]


def log_run(
    *,
    rows: Sequence[Mapping[str, Any]],
    gallery: Path,
    folder: Path,
    config: Mapping[str, Any],
    project: str,
    group: str,
    timeout: float,
    tables: Mapping[str, Table],
    pictures: Table,
    files: Sequence[Path],
    means: Mapping[str, float],
    stages: Mapping[str, Table],
) -> bool:
    """Log a comparison and, as runs of their own in its group, its stages; never raises.

    Whether all of them are written, now or before; what could not be uploaded can be synced.

    The comparison's run holds all rows, `means` as its summary, the gallery, `tables`, `pictures`
    (a table whose cells are paths, or text) and an artifact of `files`, named after their content.
    Each of `stages` (job type -> table) is one more run. A run's id is a hash of project, group and
    what it holds, but for what the comparison cost and where it ran: the same result is the same
    run whoever logs it, resumed if it is uploaded again.

    They are written below `folder`/wandb, anew if an earlier call did not finish one. Writing
    (usually 4 seconds) and upload together get `timeout` seconds. Respects the mode that wandb
    itself takes from WANDB_MODE and its settings files (`wandb disabled`, `wandb offline`).
    After an upload that was not done in time the process uploads no more: a sweep waits once.
    """
    try:
        main: dict[str, Any] = {
            "job_type": "compare",
            "config": dict(config),
            "rows": [dict(row) for row in rows],
            "gallery": str(gallery.absolute()),
            "tables": dict(tables),
            "pictures": pictures,
            "files": [str(file.absolute()) for file in files],
            "means": dict(means),
        }
        settings = {"project": project, "group": group}
        place = [project, group]
        runs = [{**main, "id": _identity([*place, *_lasting(main["rows"], main["config"])])}]
        for stage, table in stages.items():
            run: dict[str, Any] = {
                "job_type": stage,
                "config": {},
                "rows": [],
                "tables": {"stages": table},
            }
            runs.append({**run, "id": _identity([*place, stage, _content(table)])})
        _log(runs, settings, folder.absolute(), time.monotonic() + timeout)
    except Exception as error:  # a view must never fail what it shows
        log.warning(
            "W&B: not logged (%s); the rows are in their files, the same command tries again", error
        )
        return False
    return True


def _lasting(rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> list[Any]:
    """What of a comparison is the same wherever it is computed and whoever logs it."""
    measured = [row for row in rows if not row["metric"].startswith(COSTS)]
    return [measured, {k: v for k, v in config.items() if k not in ("runtime", "logger")}]


def _content(table: Table) -> list[list[Any]]:
    """What of a table of stages is the same wherever they are computed."""
    kept = [at for at, column in enumerate(table["columns"]) if column in CONTENT]
    return [[line[at] for at in kept] for line in table["data"]]


def _identity(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _log(
    runs: Sequence[Mapping[str, Any]], settings: dict[str, Any], folder: Path, deadline: float
) -> None:
    found = {run["id"]: f"wandb/offline-run-*-{run['id']}" for run in runs}
    todo = [run for run in runs if not list(folder.glob(f"{found[run['id']]}/{DONE}"))]
    if os.environ.get("WANDB_MODE") == "disabled" or not todo:
        return
    for run in todo:
        for partial in folder.glob(found[run["id"]]):
            shutil.rmtree(partial)
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"runs": todo, "settings": {**settings, "dir": str(folder)}}
    try:
        _child([sys.executable, "-P", str(CHILD), DONE], spec, folder, deadline)
    finally:
        written = [done for run in todo for done in folder.glob(f"{found[run['id']]}/{DONE}")]
        if written:  # none if W&B is disabled in its settings
            _upload([done.parent for done in written], written[0].read_text(), folder, deadline)


def _upload(runs: Sequence[Path], mode: str, folder: Path, deadline: float) -> None:
    paths = list(map(str, runs))
    if mode not in UPLOADED or not logged_in() or _server() in _silent:
        log.info("W&B: offline run (upload: wandb sync %s)", " ".join(paths))
        return
    sync = [sys.executable, "-P", "-m", "wandb", "sync", "--yes", *paths]
    began = time.monotonic()
    try:
        _child(sync, None, folder, deadline)
        if not all(
            list(run.glob("*.synced")) for run in runs
        ):  # it exits with 0 even if the server refuses
            raise RuntimeError(f"the server did not take it, see {folder / 'wandb.log'}")
    except (TimeoutError, RuntimeError) as error:
        all_of_them = " ".join(paths)
        log.warning("W&B: not uploaded (%s); upload later with: wandb sync %s", error, all_of_them)
        if isinstance(error, TimeoutError) and began < deadline:  # not for want of time
            _silent.add(_server())
            log.warning("W&B: what follows in this process stays offline, nothing waits for it")


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


def _server() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def logged_in() -> bool:
    """Whether an API key is at hand, in the environment or in ~/.netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(_server()).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
