"""The artifact store: one folder per artifact, complete only if its marker verifies."""

import errno
import hashlib
import itertools
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from diffshortcut.errors import UserError
from diffshortcut.lease import Lease

log = logging.getLogger(__name__)
MARKER = "complete.json"
POLL = 0.5  # seconds between two looks at an artifact another process makes
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}

Make = Callable[[Path], dict[str, Any]]  # fills a folder, returns facts for the record


class StoreError(UserError):
    """The disk is full or cannot be written: nothing can go on."""


class Store:
    """Artifacts at root/<stage>/<key>, written once by whoever asks first."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, stage: str, key: str) -> Path:
        """Where the artifact is or will be."""
        return self.root / stage / key

    def find(self, stage: str, key: str) -> Path | None:
        """The artifact's folder if it verifies; a broken one is put into quarantine."""
        return find(self.path(stage, key), quarantine=self.root / "quarantine")

    def provenance(self, stage: str, key: str) -> dict[str, Any]:
        """What was recorded when the artifact was made."""
        return read_marker(self.path(stage, key))["provenance"]

    def write(self, stage: str, key: str, make: Make) -> Path:
        """The artifact's folder, made by `make` unless it is there; one writer per key."""
        name = f"{stage}-{key}"
        with user_errors(self.root):
            lease = Lease(self.root / "leases" / name)
            for attempt in itertools.count():
                if lease.acquire():
                    break
                if attempt == 0:
                    log.info("%s is being made by another process: waiting for it", name)
                time.sleep(POLL)
            with lease:
                return self.find(stage, key) or self._make(name, self.path(stage, key), make)

    def _make(self, name: str, final: Path, make: Make) -> Path:
        for left_over in (self.root / "tmp").glob(f"{name}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        return publish(final, make, aside=self.root / "tmp" / f"{name}-{uuid.uuid4().hex[:8]}")


def find(folder: Path, *, quarantine: Path) -> Path | None:
    """`folder` if its marker verifies; else None, and what is there goes into quarantine."""
    if not folder.is_dir():
        return None
    reason = _defect(folder)
    if reason is None:
        return folder
    with user_errors(quarantine):
        quarantine.mkdir(parents=True, exist_ok=True)
        place = quarantine / f"{folder.parent.name}-{folder.name}-{uuid.uuid4().hex[:8]}"
        log.warning("%s is broken (%s): moved to %s", folder, reason, place)
        folder.rename(place)
    return None


def publish(final: Path, make: Make, *, aside: Path) -> Path:
    """Make a folder aside, sync it, seal it with the marker, then rename it to `final`.

    The rename is the only commit: whatever is killed before it leaves nothing at `final`.
    """
    aside.mkdir(parents=True)
    try:
        provenance = make(aside)
        files = {p.relative_to(aside).as_posix(): _sha256(p, sync=True) for p in _files(aside)}
        _write_marker(aside, {"files": files, "provenance": provenance})
        for folder in [p for p in aside.rglob("*") if p.is_dir()] + [aside]:
            _sync(folder)
        final.parent.mkdir(parents=True, exist_ok=True)
        _commit(aside, final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return final


def check_writable(folder: Path) -> None:
    """StoreError now rather than after an hour of work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror}") from error


def read_marker(folder: Path) -> dict[str, Any]:
    """The marker's content; ValueError or OSError if it cannot be trusted."""
    marker = json.loads((folder / MARKER).read_text())
    if not isinstance(marker, dict) or marker.pop("sha256", None) != _seal(marker):
        raise ValueError("its marker does not match itself")
    return marker


@contextmanager
def user_errors(root: Path) -> Iterator[None]:
    """Turn a full disk or an unwritable folder into a StoreError naming `root`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        code = error.errno if isinstance(error, OSError) else None
        # writers in other languages lose the error number but keep its text
        if code in NO_SPACE or os.strerror(errno.ENOSPC) in str(error):
            raise StoreError(f"no space left on the disk of {root}") from error
        if code in NO_ACCESS and str(getattr(error, "filename", "")).startswith(str(root)):
            raise StoreError(f"cannot write to {root}: {os.strerror(code)}") from error
        raise


def _commit(aside: Path, final: Path) -> None:
    try:
        aside.rename(final)
    except OSError:
        if not final.is_dir() or _defect(final):  # else a second writer: keep the first copy
            raise
    _sync(final.parent)


def _defect(folder: Path) -> str | None:
    try:
        recorded = read_marker(folder)["files"]
    except (OSError, ValueError, KeyError) as error:
        return f"marker: {error}"
    present = {p.relative_to(folder).as_posix(): p for p in _files(folder) if p.name != MARKER}
    if difference := sorted(present.keys() ^ recorded.keys()):
        return f"unexpected or missing: {difference[0]}"
    wrong = (name for name, path in present.items() if _sha256(path) != recorded[name])
    changed = next(wrong, None)
    return f"changed: {changed}" if changed else None


def _write_marker(folder: Path, marker: dict[str, Any]) -> None:
    text = json.dumps({**marker, "sha256": _seal(marker)}, allow_nan=False, indent=1)
    (folder / MARKER).write_text(text)
    _sync(folder / MARKER)


def _seal(marker: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(marker, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _sha256(path: Path, *, sync: bool = False) -> str:
    if sync:
        _sync(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
