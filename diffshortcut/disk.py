"""What files on a disk are promised: whole or not there, written through, errors by name."""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from diffshortcut.errors import UserError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP}
NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}
NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG} | IN_THE_WAY


class StoreError(UserError):
    """The disk is full or cannot be written: nothing can go on."""


def check_writable(folder: Path) -> None:
    """StoreError now rather than after an hour of work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror}") from error


def free(folder: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    place = folder.absolute()
    return shutil.disk_usage(next(p for p in (place, *place.parents) if p.is_dir())).free


def bytes_in(folder: Path) -> int:
    """Of all files in a folder and below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def sha256(path: Path) -> str:
    """Of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; ValueError if it holds anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


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
        if code in NO_LOCKS:
            raise StoreError(
                f"files below {root} cannot be locked ({os.strerror(code)}): choose a folder on"
                " another file system, or mount this one with flock"
            ) from error
        named = str(getattr(error, "filename", None) or "")
        if code == errno.EFBIG or (code in NO_ACCESS and named.startswith(str(root))):
            raise StoreError(f"cannot use {named or root}: {os.strerror(code)}") from error
        raise
