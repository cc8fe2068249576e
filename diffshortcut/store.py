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
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from diffshortcut.errors import UserError
from diffshortcut.lease import Lease, LeaseLostError, guard

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
        self._swept = False

    def path(self, stage: str, key: str) -> Path:
        """Where the artifact is or will be."""
        return self.root / stage / key

    def partial(self, stage: str, key: str) -> Path:
        """Where the maker of an artifact may keep what it has so far; gone with the commit."""
        return self.root / "partial" / f"{stage}-{key}"

    def find(self, stage: str, key: str) -> Path | None:
        """The artifact's folder if it verifies; a broken one is put into quarantine."""
        folder = self.path(stage, key)
        with user_errors(self.root):
            if folder.is_dir() and _defect(folder):
                self._quarantine(folder)
            return folder if folder.is_dir() else None

    def provenance(self, stage: str, key: str) -> dict[str, Any]:
        """What was recorded when the artifact was made."""
        return read_marker(self.path(stage, key))["provenance"]

    def write(self, stage: str, key: str, make: Make) -> Path:
        """The artifact's folder, made by `make` unless it is there; one writer per key."""
        name = f"{stage}-{key}"
        with user_errors(self.root):
            self._sweep()
            while True:
                try:
                    with self._wait_for(name) as lease:
                        return self.find(stage, key) or self._make(
                            lease, self.path(stage, key), make
                        )
                except LeaseLostError:
                    log.warning("%s was taken over by another process: ours is dropped", name)

    def _wait_for(self, name: str) -> Lease:
        lease = self._lease(name)
        for attempt in itertools.count():
            if lease.acquire():
                break
            if attempt == 0:
                log.info("%s is being made by another process: waiting for it", name)
            time.sleep(POLL)
        return lease

    def _make(self, lease: Lease, final: Path, make: Make) -> Path:
        name = lease.path.name
        for left_over in (self.root / "tmp").glob(f"{name}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        aside = self.root / "tmp" / f"{name}-{uuid.uuid4().hex[:8]}"
        try:
            made = publish(final, make, aside=aside, committing=lease.kept)
            shutil.rmtree(self.root / "partial" / name, ignore_errors=True)
            return made
        except Exception as error:
            if not lease.held():  # then the new owner has emptied our folder: no fault of `make`
                raise LeaseLostError(name) from error
            raise

    def _sweep(self) -> None:
        """Once: remove what processes that are gone have left of any artifact."""
        if self._swept:
            return
        self._swept = True
        left_overs = {p: p.name.rpartition("-")[0] for p in (self.root / "tmp").glob("*-*")}
        for part in ("partial", "leases"):  # of what is complete: killed just after the commit
            left_overs |= {p: p.name for p in (self.root / part).glob("*-*") if self._has(p.name)}
        for left_over, name in left_overs.items():
            lease = self._lease(name)
            if lease.acquire():
                with lease:
                    shutil.rmtree(left_over, ignore_errors=True)

    def _has(self, name: str) -> bool:
        stage, _, key = name.partition("-")
        return self.path(stage, key).is_dir()

    def _lease(self, name: str) -> Lease:
        return Lease(self.root / "leases" / name)

    def _quarantine(self, folder: Path) -> None:
        """Move a broken folder away, unless another process has done so and maybe remade it."""
        quarantine = self.root / "quarantine"
        with guard(self.root / "leases"):  # nothing is committed meanwhile
            if folder.is_dir() and (reason := _defect(folder)):
                quarantine.mkdir(parents=True, exist_ok=True)
                place = quarantine / f"{folder.parent.name}-{folder.name}-{uuid.uuid4().hex[:8]}"
                log.warning("%s is broken (%s): moved to %s", folder, reason, place)
                folder.rename(place)


def publish(
    final: Path,
    make: Make,
    *,
    aside: Path,
    committing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Path:
    """Make a folder aside, sync it, seal it with the marker, then rename it to `final`.

    The rename is the only commit: whatever is killed before it leaves nothing at `final`. It is
    done inside `committing()`, which may refuse it by an error.
    """
    aside.mkdir(parents=True)
    try:
        provenance = make(aside)
        _write_marker(aside, {"files": digests(aside), "provenance": provenance})
        for folder in [p for p in aside.rglob("*") if p.is_dir()] + [aside]:
            sync(folder)
        final.parent.mkdir(parents=True, exist_ok=True)
        with committing():
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


def digests(folder: Path) -> dict[str, str]:
    """Write every file of a folder through to the disk; their sha256 by relative name."""
    files = _files(folder)
    for path in files.values():
        sync(path)
    return {name: sha256(path) for name, path in files.items()}


def sha256(path: Path) -> str:
    """Of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Return when a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(place: Path, *, alone: bool = False) -> Iterator[Path]:
    """A file to write beside `place`, which then takes its place: whole and on the disk, or not.

    `alone`: nobody else writes it, so that what a killed process has left there is written over.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name}" + ("" if alone else f"-{uuid.uuid4().hex[:8]}"))
    try:
        yield aside
        sync(aside)
        aside.replace(place)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(place.parent)


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
    sync(final.parent)


def _defect(folder: Path) -> str | None:
    """What is broken, or None; an OSError that says nothing about the files is raised."""
    try:
        recorded = read_marker(folder)["files"]
        present = {name: path for name, path in _files(folder).items() if path.name != MARKER}
        if difference := sorted(present.keys() ^ recorded.keys()):
            return f"unexpected or missing: {difference[0]}"
        wrong = (name for name, path in present.items() if sha256(path) != recorded[name])
        changed = next(wrong, None)
    except (FileNotFoundError, ValueError, KeyError) as error:
        return f"marker: {error}"
    return f"changed: {changed}" if changed else None


def _write_marker(folder: Path, marker: dict[str, Any]) -> None:
    text = json.dumps({**marker, "sha256": _seal(marker)}, allow_nan=False, indent=1)
    (folder / MARKER).write_text(text)
    sync(folder / MARKER)


def _seal(marker: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(marker, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _files(folder: Path) -> dict[str, Path]:
    """A folder's files by relative name, but for what systems hide in it, such as .DS_Store."""
    files = {p.relative_to(folder): p for p in sorted(folder.rglob("*")) if p.is_file()}
    hidden = {name for name in files if any(part.startswith(".") for part in name.parts)}
    return {name.as_posix(): path for name, path in files.items() if name not in hidden}
