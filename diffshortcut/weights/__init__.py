"""Weight references: `mini:<folder>` inside the package, `file:<path>` anywhere, `full:<name>`."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from diffshortcut.disk import sha256
from diffshortcut.errors import UserError, suggest
from diffshortcut.weights import registry

MINI = Path(__file__).parent.parent / "mini" / "weights"
SUMS = "sha256.json"  # of every file of the mini zoo, as it was made
SCHEMES = ("mini", "file", "full")
_REFERENCE = re.compile(rf"({'|'.join(SCHEMES)}):(\S.*)")
State = tuple[tuple[str, int, int], ...]  # of each file path, bytes and time
_memo: dict[Path, tuple[State, str]] = {}
_unfetched: dict[str, registry.Entry] | None = None


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

    Links to files and to folders are followed. UserError naming a file that is not what was shipped
    with the mini zoo, or registered or fetched of the full one.
    """
    if _unfetched is not None and scheme(reference) == "full":
        found = registry.entry(reference.partition(":")[2].partition("/")[0])
        if found.missing():
            _unfetched[found.name] = found
            return hashlib.sha256(reference.encode()).hexdigest()
    root = locate(reference).resolve()
    files = _files(root, reference) if root.is_dir() else [root]
    now = _state(files)
    if root not in _memo or _memo[root][0] != now:
        sums = {_name(path, root): sha256(path) for path in files}
        _check(reference, sums)
        lines = (f"{name}\0{content}\n" for name, content in sums.items())
        _memo[root] = (now, hashlib.sha256("".join(lines).encode()).hexdigest())
    return _memo[root][1]


def state(place: Path) -> State:
    """Sizes and times of a file, or of all in a folder: what tells that they are the same."""
    return _state(_walked(place) if place.is_dir() else [place])


def _state(files: Iterable[Path]) -> State:
    return tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)


@contextmanager
def unfetched() -> Iterator[dict[str, registry.Entry]]:
    """Lets a plan be made without the weights: inside, those not fetched yet have a digest too.

    It is one of their reference, not of files, so no result has it. Yields the entries that are
    not fetched, by name, filled as `digest` is asked for them.
    """
    global _unfetched
    before, _unfetched = _unfetched, {}
    try:
        yield _unfetched
    finally:
        _unfetched = before


def _files(root: Path, reference: str) -> list[Path]:
    """Of a registered entry those that it lists: a folder of fetched files holds notes too."""
    kind, _, name = reference.partition(":")
    if kind == "full":
        return sorted(root / file.path for file in registry.entry(name).files)
    return _walked(root)


def _walked(root: Path) -> list[Path]:
    walk = os.walk(root, followlinks=True)  # rglob stops at a link to a folder
    found = (Path(folder, name) for folder, _, names in walk for name in names)
    return sorted(path for path in found if path.is_file())


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else "file"


def _check(reference: str, sums: Mapping[str, str]) -> None:
    kind, _, name = reference.partition(":")
    for file, expected in _expected(kind, name).items():
        if sums.get(file) != expected:
            again = "install the package again" if kind == "mini" else _fetch_again(name)
            state = "is not what it was when it was made" if file in sums else "is missing"
            named = reference if file == "file" else f"{file} of {reference}"
            raise UserError(f"weights: {named} {state} (sha256): {again}")


def _fetch_again(name: str) -> str:
    found = registry.entry(name.partition("/")[0])
    return f"remove it from {found.folder}, then python -m diffshortcut.weights fetch {found.name}"


def _expected(kind: str, name: str) -> dict[str, str]:
    """sha256 by file, as far as they are known."""
    if kind == "mini" and (MINI / SUMS).is_file():
        known = json.loads((MINI / SUMS).read_text())
        return {f.removeprefix(f"{name}/"): s for f, s in known.items() if f.startswith(f"{name}/")}
    if kind == "full":
        entry, _, inner = name.partition("/")
        found = registry.entry(entry)
        only = inner or (found.files[0].path if len(found.files) == 1 else None)
        named = {f.path: found.expected(f) for f in found.files if only in (None, f.path)}
        return {"file" if only else path: known for path, known in named.items() if known}
    return {}
