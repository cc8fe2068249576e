"""Faults that a forked process brings upon itself; each function is named in a request."""

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLONE_NEWNET = 0x40000000  # os.unshare is of Python 3.12
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGING = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"}


class WritePoints:
    """Every moment at which a process changes a file or folder below some roots, counted.

    Before each call that opens a file for writing, makes, renames or removes; and at each fsync
    twice, once before it with whatever is not synced yet cut to half (as a power cut may leave it),
    once after it. The process is killed at the `die_at`th; all are listed in the file `counted`.
    """

    def __init__(self, roots: list[str], die_at: int | None, counted: str | None) -> None:
        self.roots = [Path(root) for root in roots]
        self.die_at, self.counted = die_at, counted
        self.points: list[list[str]] = []
        self.synced = {path.stat().st_ino for path in self._files()}
        self.thread = threading.get_ident()
        self.busy = False
        fsync = os.fsync

        def watched(handle: int) -> None:
            path = os.readlink(f"/proc/self/fd/{handle}")
            self.reach("power cut", path, cut=True)
            fsync(handle)
            self.synced.add(os.fstat(handle).st_ino)
            self.reach("fsync", path)

        os.fsync = watched
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(arguments[0], str) and arguments[2] & WRITING:
                self.reach(event, arguments[0])
        elif event in CHANGING and isinstance(arguments[0], str | Path):
            folder = arguments[-1] if isinstance(arguments[-1], int) else -1
            above = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else ""
            self.reach(event, os.path.join(above, arguments[0]))

    def reach(self, event: str, path: str, *, cut: bool = False) -> None:
        """Count a point, and die if it is the one."""
        inside = any(Path(os.path.abspath(path)).is_relative_to(root) for root in self.roots)
        if self.busy or not inside or threading.get_ident() != self.thread:
            return
        self.busy = True
        self.points.append([event, os.path.abspath(path)])
        if len(self.points) == self.die_at:
            if cut:
                self._cut()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.counted:
            Path(self.counted).write_text(json.dumps(self.points))
        self.busy = False

    def _cut(self) -> None:
        for path in self._files():
            state = path.stat()
            if state.st_ino not in self.synced:
                os.truncate(path, state.st_size // 2)

    def _files(self) -> list[Path]:
        return [p for root in self.roots for p in root.rglob("*") if p.is_file()]


def write_points(
    roots: list[str], die_at: int | None = None, counted: str | None = None
) -> WritePoints:
    """Die at a write point, or count them."""
    return WritePoints(roots, die_at, counted)


def patience(stale: float) -> None:
    """Leases are stale after so many seconds, and heartbeats come accordingly."""
    from diffshortcut.artifacts import lease

    lease.STALE, lease.HEARTBEAT = stale, stale / 9


def held_out(draws: int) -> None:
    """Measure an attack's objective on fewer draws, for the time's sake."""
    from diffshortcut.stages import protect

    protect.HELD_OUT = draws


def clock(offset: float) -> None:
    """The clock of this process goes wrong by `offset` seconds."""
    import time

    now = time.time
    time.time = lambda: now() + offset


def value(place: str, number: str, at: int = 0) -> None:
    """What a function gives becomes NaN or infinite in its call number `at`.

    `place` is module:function or module:Class.method.
    """

    def spoil(result: Any) -> Any:
        import torch

        if isinstance(result, torch.Tensor):
            mask = torch.zeros_like(result, dtype=torch.bool)
            mask[(0,) * mask.ndim] = True  # wherever that is in memory
            if math.isfinite(float(number)):
                return torch.where(mask, float(number), result)
            return result * torch.where(mask, float(number), 1.0)  # its gradient too
        if isinstance(result, tuple):
            return (*result[:-1], spoil(result[-1]))
        assert isinstance(result, list), type(result)  # rows of a metric
        return [{**result[0], "value": float(number)}, *result[1:]]

    _wrap(place, at, lambda call: spoil(call()))


def error(place: str, kind: str, message: str, at: int = 0) -> None:
    """A function raises an error of torch or of Python in its call number `at`."""

    def fail(call: Callable[[], Any]) -> Any:
        import builtins

        import torch

        raise getattr(builtins, kind, None or getattr(torch, kind, None))(message)

    _wrap(place, at, fail)


def signal_at(place: str, number: int, at: int = 0) -> None:
    """The process gets a signal during a function's call number `at`."""

    def send(call: Callable[[], Any]) -> Any:
        os.kill(os.getpid(), number)
        return call()

    _wrap(place, at, send)


def slow(place: str, seconds: float) -> None:
    """A function takes longer."""
    import time

    def wait(call: Callable[[], Any]) -> Any:
        time.sleep(seconds)
        return call()

    _wrap(place, None, wait)


def note(place: str, file: str) -> None:
    """Append a letter to a file at every call of a function."""

    def write(call: Callable[[], Any]) -> Any:
        with open(file, "a") as stream:
            stream.write("x")
        return call()

    _wrap(place, None, write)


def no_network() -> None:
    """Every connection is refused at once, and told; child processes have no network at all.

    Unless this process has no right to leave the network: then `NOT CUT` is printed.
    """
    import ctypes

    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        print("NOT CUT:", os.strerror(ctypes.get_errno()), file=sys.stderr)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
            print("ASKED THE NETWORK:", arguments, file=sys.stderr)
            raise OSError(101, "Network is unreachable")

    sys.addaudithook(refuse)


def _wrap(place: str, at: int | None, around: Callable[[Callable[[], Any]], Any]) -> None:
    """Let `around` have call number `at` of a function, or every call."""
    import importlib

    module, _, name = place.partition(":")
    holder: Any = importlib.import_module(module)
    *above, last = name.split(".")
    for part in above:
        holder = getattr(holder, part)
    original, calls = getattr(holder, last), 0

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if at is None or calls - 1 == at:
            return around(lambda: original(*arguments, **named))
        return original(*arguments, **named)

    setattr(holder, last, wrapped)


def weights(folder: str) -> None:
    """The mini zoo's weights lie elsewhere."""
    from pathlib import Path

    import diffshortcut.weights

    diffshortcut.weights.MINI = Path(folder)
    diffshortcut.weights._memo.clear()


def broken_gradient(number: str, at: int) -> None:
    """A model's loss in training is finite, its gradient is not."""
    from diffshortcut import dreambooth

    descend, calls = dreambooth.descend, 0

    def spoiled(optimizer: Any, losses: Any, **options: Any) -> Any:
        nonlocal calls
        [loss] = losses
        if calls == at:
            loss.register_hook(lambda gradient: gradient * float(number))
        calls += 1
        return descend(optimizer, [loss], **options)

    dreambooth.descend = spoiled


def little_memory(more: int) -> None:
    """The process may have only so many bytes more than it has."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def other_child(script: str) -> None:
    """W&B's child process is another script."""
    from diffshortcut.report import tracking

    tracking.CHILD = Path(script)


def faceless() -> None:
    """No face is found in any picture but the references, which are looked at first."""
    from dataclasses import replace

    from diffshortcut.metrics import ims

    find, calls = ims.find, 0

    def blind(detector: Any, images: Any) -> Any:
        nonlocal calls
        calls += 1
        faces = find(detector, images)
        return faces if calls == 1 else replace(faces, largest=[None for _ in images])

    ims.find = blind
