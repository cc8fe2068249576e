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
from types import TracebackType

HEARTBEAT = 10.0  # seconds between two signs of life
STALE = 90.0  # seconds without one after which a lease may be taken over


class Lease:
    """A file that exists while its owner works; its modification time is the owner's heartbeat."""

    def __init__(self, path: Path) -> None:
        self.path = path
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "id": uuid.uuid4().hex}
        self._text = json.dumps(owner)
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._heartbeat, daemon=True)

    def acquire(self) -> bool:
        """Try once; True if the lease is ours now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._guard():
            if self._dead():
                self.path.unlink(missing_ok=True)
            with suppress(FileExistsError):
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                with os.fdopen(handle, "w") as stream:
                    stream.write(self._text)
                return True
        return False

    def __enter__(self) -> "Lease":
        self._beat.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._beat.join()
        with suppress(OSError):
            if self.path.read_text() == self._text:
                self.path.unlink()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Between judging a lease dead and replacing it no other process may do the same."""
        with (self.path.parent / ".guard").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _dead(self) -> bool:
        try:
            age = time.time() - self.path.stat().st_mtime
            owner = json.loads(self.path.read_text())
        except FileNotFoundError:
            return False
        except ValueError:  # killed between creating the file and filling it
            return age > STALE
        return age > STALE or (owner["host"] == socket.gethostname() and not _alive(owner["pid"]))

    def _heartbeat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            with suppress(OSError):
                os.utime(self.path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
