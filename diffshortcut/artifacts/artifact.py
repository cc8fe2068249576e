"""An artifact: a folder of files, complete only if the marker in it verifies."""

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from diffshortcut.disk import read_object, sha256, sync

MARKER = "complete.json"

Make = Callable[[Path], dict[str, Any]]  # fills a folder, returns facts for the record


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


def read_marker(folder: Path) -> dict[str, Any]:
    """The marker's content; ValueError or OSError if it cannot be trusted."""
    marker = read_object(folder / MARKER)
    if marker.pop("sha256", None) != _seal(marker):
        raise ValueError("its marker does not match itself")
    return marker


def digests(folder: Path) -> dict[str, str]:
    """Write every file of a folder through to the disk; their sha256 by relative name."""
    files = _files(folder)
    for path in files.values():
        sync(path)
    return {name: sha256(path) for name, path in files.items()}


def _commit(aside: Path, final: Path) -> None:
    try:
        aside.rename(final)
    except OSError:
        if not final.is_dir() or defect(final):  # else a second writer: keep the first copy
            raise
    sync(final.parent)


def defect(folder: Path) -> str | None:
    """What is broken in an artifact, or None; an OSError that does not tell is raised."""
    try:
        marker = read_marker(folder)
        recorded, made_as = marker["files"], marker["provenance"].get("key", folder.name)
        if made_as != folder.name:
            return f"it is the artifact {made_as}"
        present = {name: path for name, path in _files(folder).items() if path.name != MARKER}
        if difference := sorted(present.keys() ^ recorded.keys()):
            return f"unexpected or missing: {difference[0]}"
        wrong = (name for name, path in present.items() if _sha256(path) != recorded[name])
        changed = next(wrong, None)
    except (FileNotFoundError, ValueError, KeyError, AttributeError) as error:
        return f"marker: {error}"
    return f"changed: {changed}" if changed else None


def _sha256(path: Path) -> str:
    """Read once per process and state of the file: jobs of a grid ask for the same ones."""
    state = path.stat()
    return _read(path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@cache
def _read(path: Path, *_state: int) -> str:
    return sha256(path)


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
