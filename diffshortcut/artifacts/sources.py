"""The source of stages: the code of a module and of all that it imports, as keys are made of it.

Nothing is imported here: modules are files, and what they import is read from their syntax.
"""

import ast
import hashlib
import importlib.util
import io
import json
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from diffshortcut.errors import UserError

PACKAGE = Path(__file__).parent.parent
# modules that say nothing of what a stage computes; by their full names, as a plug-in may have one
STORING = ("artifact", "store", "lease", "keys", "sources", "provenance")
SAYING = ("errors", "progress", "disk", "config.config", "weights")
INERT = {f"diffshortcut.{name}" for name in (*SAYING, *(f"artifacts.{one}" for one in STORING))}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_first: dict[Path, str] = {}  # source files as this process has read, and maybe imported, them
Import = tuple[int, str, str]  # level, module and name, as in `from ..module import name`


def digest(names: Iterable[str]) -> str:
    """sha256 of the modules of dotted `names` and of all they import from the same packages.

    Of their code: docstrings, comments and empty lines do not count.

    UserError if one has changed since this process first asked: what is in memory is then not
    what is on the disk.
    """
    seen: dict[str, str] = {}
    queue = [found[0] for name in names if (found := module_file(name))]
    while queue:
        module = queue.pop()
        found = module_file(module)
        if module in seen or found is None or module in INERT:
            continue
        seen[module] = _file_digest(found[1])
        queue.extend(imports(module))
    text = json.dumps(seen, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def imports(module: str) -> tuple[str, ...]:
    """Modules of diffshortcut, or of the plug-in itself, that `module` imports; by its syntax."""
    found = module_file(module)
    if found is None:
        return ()
    is_package = found[1].name == "__init__.py"
    own = {"diffshortcut", module.partition(".")[0]}
    names = _imported(_source(found[1])[1], module, is_package)
    files = (module_file(name) for name in names if name.partition(".")[0] in own)
    return tuple(sorted({file[0] for file in files if file}))


@cache
def module_file(name: str) -> tuple[str, Path] | None:
    """The longest prefix of a dotted name that is a module, with its file; imports nothing."""
    parts = name.split(".")
    root = _package_root(parts[0])
    if root is None:
        return None
    for end in range(len(parts), 0, -1):
        base = root.joinpath(*parts[1:end])
        for file in (base.with_suffix(".py") if end > 1 else root, base / "__init__.py"):
            if file.is_file():
                return ".".join(parts[:end]), file
    return None


@cache
def _package_root(name: str) -> Path | None:
    if name == "diffshortcut":
        return PACKAGE
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        return None
    origin = Path(found.origin)
    return origin.parent if origin.name == "__init__.py" else origin


def _imported(found: Iterable[Import], module: str, is_package: bool) -> Iterator[str]:
    parts = module.split(".")
    for level, base, name in found:
        above = parts[: len(parts) - level + is_package] if level else []
        yield ".".join([*above, *(part for part in (base, name) if part)])


def _file_digest(path: Path) -> str:
    content, _ = _source(path)
    if _first.setdefault(path, content) != content:
        raise UserError(f"{path} has changed while this ran: call the same command again")
    return content


def _source(path: Path) -> tuple[str, tuple[Import, ...]]:
    """sha256 of a file's code, and what it imports."""
    state = path.stat()
    return _read(path, state.st_size, state.st_mtime_ns)


@cache
def _read(path: Path, size: int, changed: int) -> tuple[str, tuple[Import, ...]]:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, str(path))
    return hashlib.sha256(_code(text, tree).encode()).hexdigest(), tuple(_imports(tree))


def _code(text: str, tree: ast.Module) -> str:
    """A source without comments, docstrings and empty lines; equal whatever Python reads it."""
    lines, said = text.split("\n"), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row, column = token.start[0] - 1, token.start[1]
        if token.type == tokenize.COMMENT:
            lines[row] = lines[row][:column].rstrip()
        if token.type in (tokenize.COMMENT, tokenize.NL):  # no line of a string
            said.add(row)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            said.update(_cut(lines, node.body[0]))
    return "\n".join(line for row, line in enumerate(lines) if line.strip() or row not in said)


def _cut(lines: list[str], node: ast.stmt) -> range:
    """Take a statement out of its lines, whose number stays; its columns are of UTF-8."""
    assert node.end_lineno is not None
    first, last = node.lineno - 1, node.end_lineno - 1
    before = lines[first].encode()[: node.col_offset]
    behind = lines[last].encode()[node.end_col_offset :]
    lines[first : last + 1] = [(before + behind).decode(), *[""] * (last - first)]
    return range(first, last + 1)


def _imports(tree: ast.AST) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, "", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, node.module or "", alias.name) for alias in node.names)
