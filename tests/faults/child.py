"""A process that has imported everything, and runs command lines in forks of itself, with a fault.

It reads one JSON object a line: `overrides`, `cwd`, `log`, `environment` and `fault`, the name of a
function of injected.py with its arguments; or `wait`, a process id. It answers each with a line.
"""

import importlib
import json
import os
import pkgutil
import signal
import sys
import time
import traceback
from typing import Any

POLL = 0.01  # seconds


def prepare() -> None:
    """Import what stages need, and hash weights and source, but compute nothing: it is to fork."""
    os.environ["DIFFSHORTCUT_WEIGHTS"] = "/nonexistent/weights"
    import torch

    torch.set_num_threads(1)
    for package in ("stages", "attacks", "purifiers", "trainers", "samplers", "metrics", "report"):
        found = importlib.import_module(f"diffshortcut.{package}")
        for module in pkgutil.iter_modules(found.__path__):
            if module.name != "wandb_child":
                importlib.import_module(f"{found.__name__}.{module.name}")
    import onnxruntime  # noqa: F401
    import scipy.stats  # noqa: F401

    from diffshortcut import run  # noqa: F401
    from diffshortcut.job import command  # noqa: F401

    command.comparison(["attack=photoguard_encoder", "purifier=jpeg", "logger=none"])


def start(request: dict[str, Any]) -> int:
    """Fork, and let the child run the command line; its process id."""
    if pid := os.fork():
        return pid
    code = 70
    try:
        os.setsid()
        _as_told(request)
        code = _run(request["overrides"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _as_told(request: dict[str, Any]) -> None:
    import injected

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
    os.chdir(request["cwd"])
    os.environ.update(request.get("environment", {}))
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for name, arguments in request.get("fault", {}).items():
        getattr(injected, name)(**arguments)


def _run(overrides: list[str]) -> int:
    """The exit code that the command line would have, its last line on standard error."""
    from diffshortcut import run

    sys.argv = ["diffshortcut", *overrides]
    try:
        run.main()
    except SystemExit as done:
        if isinstance(done.code, str):
            print(done.code, file=sys.stderr)
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    return 0


def wait(pid: int, seconds: float) -> dict[str, Any]:
    """How the process ended; one that takes longer is killed with its group."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return {"code": os.waitstatus_to_exitcode(status)}
        time.sleep(POLL)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return {"code": None}


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    prepare()
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = wait(**request["wait"]) if "wait" in request else {"pid": start(request)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
