"""A lease on a name: one owner across processes and hosts, taken over when the owner is gone."""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from diffshortcut.disk import read_object

HEARTBEAT = 10.0  # seconds between two signs of life
GUARD = ".guard"
STALE = 90.0  # seconds without one after which another host may take a lease over


class LeaseLostError(Exception):
    """Another process has taken the lease over."""


@contextmanager
def guard(folder: Path) -> Iterator[None]:
    """Inside, no other process is in the guard of the same folder; others wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / GUARD).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class Lease:
    """A file that exists while its owner works; its modification time is the owner's heartbeat."""

    def __init__(self, path: Path) -> None:
        self.path = path
        pid = os.getpid()
        owner = {"pid": pid, "started": _started(pid), "host": _host(), "id": uuid.uuid4().hex}
        self._text = json.dumps(owner)
        self._seen = (0.0, 0.0)  # the last sign of life of another owner, and when we saw it first
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._heartbeat, daemon=True)

    def acquire(self) -> bool:
        """Try once; True if the lease is ours now."""
        with guard(self.path.parent):
            if self._dead():
                self.path.unlink(missing_ok=True)
            with suppress(FileExistsError):
                self._create()
                return True
        return False

    def _create(self) -> None:
        handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        try:
            with os.fdopen(handle, "w") as stream:
                stream.write(self._text)
        except OSError:  # the disk is full: an empty lease would be waited for
            self.path.unlink()
            raise

    def held(self) -> bool:
        """Whether nobody has taken the lease over."""
        try:
            return self.path.read_text() == self._text
        except FileNotFoundError:
            return False

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Nobody takes the lease over inside; LeaseLostError if somebody has done so before."""
        with guard(self.path.parent):
            if not self.held():
                raise LeaseLostError(self.path.name)
            yield

    def __enter__(self) -> "Lease":
        self._beat.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._beat.join()
        with suppress(OSError, LeaseLostError), self.kept():
            self.path.unlink()

    def _dead(self) -> bool:
        """Here the owner's process tells, if it is surely that; else only the heartbeat is seen."""
        try:
            silent = self._silence(self.path.stat().st_mtime)
            owner = read_object(self.path)
            if owner["host"] == _host():
                unsure = owner["started"] is None  # its id may be another process's by now
                return not _alive(owner) or (unsure and silent > STALE)
            return silent > STALE
        except FileNotFoundError:
            return False
        except (ValueError, TypeError, KeyError):  # such as killed while it was written
            return silent > STALE

    def _silence(self, beat: float) -> float:
        """Seconds since a sign of life: by the file system's clock, or as long as we have watched.

        Our own clock may be ahead of the owner's; one that was set back shows the owner's last beat
        in the future.
        """
        if beat != self._seen[0]:
            self._seen = (beat, time.monotonic())
        here = self.path.parent / GUARD  # the system that stamps the beats stamps this one too
        os.utime(here)
        return max(here.stat().st_mtime - beat, time.monotonic() - self._seen[1])

    def _heartbeat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            with suppress(OSError):
                if self.held():
                    os.utime(self.path)


def _host() -> str:
    """Where process ids mean something: the machine since it was started, and the container."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # only Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _alive(owner: dict[str, Any]) -> bool:
    """Stopped or asleep is alive; a process that has got the id of one that is gone is not it."""
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return owner["started"] is None or _started(owner["pid"]) in (None, owner["started"])


def _started(pid: int) -> str | None:
    """When a process began, in clock ticks since boot; None where that cannot be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return "ended" if state in "ZX" else fields[18]
