"""Weight references: `mini:<folder>` inside the package, `file:<path>` anywhere, `full:<name>`."""

import hashlib
import os
import re
from pathlib import Path

from diffshortcut.errors import UserError, suggest
from diffshortcut.weights import registry

MINI = Path(__file__).parent.parent / "mini" / "weights"
SCHEMES = ("mini", "file", "full")
_REFERENCE = re.compile(rf"({'|'.join(SCHEMES)}):(\S.*)")
_memo: dict[Path, tuple[tuple[tuple[str, int, int], ...], str]] = {}


def scheme(value: object) -> str | None:
    """`mini`, `file` or `full` if `value` is a weight reference."""
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None


def locate(reference: str) -> Path:
    """The file or folder of a reference; UserError if it is not there."""
    kind = scheme(reference)
    if kind is None:
        raise UserError(f"weights: {reference!r} is not mini:<folder>, file:<path> or full:<name>")
    name = reference.partition(":")[2]
    if kind == "full":
        return registry.locate(name)
    path = MINI / name if kind == "mini" else Path(name).expanduser()
    if not path.exists():
        known = [f"mini:{p.name}" for p in MINI.glob("*")] if kind == "mini" else []
        raise UserError(f"weights: no {path} ({reference}).{suggest(reference, known)}")
    return path


def digest(reference: str) -> str:
    """sha256 over the names and bytes of the reference's files, whatever folder they are in.

    Links to files and to folders are followed.
    """
    root = locate(reference).resolve()
    files = _files(root) if root.is_dir() else [root]
    state = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
    if root not in _memo or _memo[root][0] != state:
        _memo[root] = (state, _hash(root, files))
    return _memo[root][1]


def _files(root: Path) -> list[Path]:
    walk = os.walk(root, followlinks=True)  # rglob stops at a link to a folder
    found = (Path(folder, name) for folder, _, names in walk for name in names)
    return sorted(path for path in found if path.is_file())


def _hash(root: Path, files: list[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        name = path.relative_to(root).as_posix() if path != root else "file"
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()
