"""What is finished, by the words of a command line: a cell is answered without composing it.

An entry is found by everything that decides what the words mean: the words, the config's folders,
the source of this package and of the plug-ins, and where it is called. It holds if every file that
the result was made of or consists of has the size and the times that it had then.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import yaml

import diffshortcut
from diffshortcut import weights
from diffshortcut.artifacts import keys, sources
from diffshortcut.artifacts.store import Store
from diffshortcut.config import catalog, config, sweep
from diffshortcut.config.schema import PLUGINS, plugins
from diffshortcut.disk import read_object, replacing
from diffshortcut.graph.cells import Task
from diffshortcut.weights import registry

VERIFYING = "DIFFSHORTCUT_VERIFY"  # in the environment: trust no entry, as --verify asks
# variables of the environment that change what words mean
ENVIRONMENT = (PLUGINS, catalog.SEARCHPATH, registry.HOME, registry.CACHE)

# of a file: size, times of the last change of content and of anything in nanoseconds: the former
# can be set back, the latter cannot
State = tuple[int, int, int]


@dataclass(frozen=True)
class Entry:
    """A finished comparison: its folder, its stages (stage, method, key), the files it rests on."""

    folder: str
    kind: str  # of comparison
    stages: list[list[str]]
    files: dict[str, list[int]]
    jobs: int | None = None  # of the sweep, if it makes claims: those of all jobs are one family


def find(overrides: Sequence[str]) -> Entry | None:
    """The entry of a command line that is finished and untouched."""
    place = _place(overrides)  # also notes what the config and the source are now
    if place is None or os.environ.get(VERIFYING):
        return None
    try:
        entry = Entry(**read_object(place))
        whole = entry.files and Path(entry.folder).is_dir()
        whole = whole and entry.jobs in (None, sweep.jobs())
        untouched = all(_state(path) == tuple(state) for path, state in entry.files.items())
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return entry if whole and untouched else None


def note(
    overrides: Sequence[str],
    folder: Path,
    kind: str,
    tasks: Sequence[Task],
    store: Store,
    roots: Iterable[str] = (),
    changed: Callable[[], bool] = lambda: False,
    jobs: int | None = None,
) -> None:
    """Remember that a comparison is finished, unless what it was made of has changed since.

    `roots` are the folders whose pictures the people are, as data.root names them; `changed` tells
    whether other people or pictures are found in them by now. `jobs` is what an entry's is.
    """
    place = _place(overrides)
    folders = [Path(os.path.abspath(Path(root).expanduser())) for root in roots]
    if place is None or not all(_state(str(root)) for root in folders):
        return
    watched = {path.absolute() for path in _files(tasks, store, folder)}
    watched |= {path for root in folders for path in _tree(root)}
    states = {str(path): list(state) for path in sorted(watched) if (state := _state(str(path)))}
    if not all(task.is_unchanged() for task in tasks) or changed():
        return
    conf = catalog.roots()
    if (_conf(conf), _source()) != _first_read(conf):
        return  # the words may mean something else by now
    stages = [[task.stage, keys.method(task.config), task.key] for task in tasks]
    entry = Entry(str(folder), kind, stages, states, jobs)
    with replacing(place) as aside:
        aside.write_text(json.dumps(asdict(entry), allow_nan=False))


def _place(overrides: Sequence[str]) -> Path | None:
    """Where the entry is, in the store that the words name; a function of the words alone.

    None if they are not all that counts: an interpolation may read anything.
    """
    if any("${" in word for word in overrides):
        return None
    roots = catalog.roots()
    conf, source = _first_read(roots)
    content = {
        "overrides": sorted(overrides) if _any_order(overrides) else list(overrides),
        "config": conf,
        "source": source,
        "version": diffshortcut.__version__,
        "environment": {n: os.environ.get(n, "") for n in (*ENVIRONMENT, *_variables(roots))},
        "folder": os.getcwd(),
    }
    return store(overrides) / "index" / f"{keys.digest(content)[:32]}.json"


def store(overrides: Sequence[str]) -> Path:
    """The store that the words name, or else the usual one."""
    named = config.given(overrides).get("runtime.store", _default_store()).strip("'\"")
    return Path(named).expanduser()


def _any_order(overrides: Sequence[str]) -> bool:
    """Whether the order of the words means nothing: no two set the same thing or a part of it.

    Options of groups are chosen before any value is set, wherever they stand.
    """
    groups = catalog.groups()
    named = [word.partition("=")[0].lstrip("+~") for word in overrides]
    is_choice = [
        key in groups and "{" not in word for key, word in zip(named, overrides, strict=True)
    ]
    values = [key for key, chooses in zip(named, is_choice, strict=True) if not chooses]
    above = {key[: dot.start()] for key in values for dot in re.finditer(r"\.", key)}
    return len(set(named)) == len(named) and not above & set(values)


@cache
def _default_store() -> str:
    return yaml.safe_load((catalog.folder() / "config.yaml").read_text())["runtime"]["store"]


@cache
def _first_read(roots: tuple[Path, ...]) -> tuple[str, str]:
    """The config and the source as this process has first read, and maybe used, them."""
    return _conf(roots), _source()


def _conf(roots: Iterable[Path]) -> str:
    """Of all files of the config."""
    return _digest(_yamls(roots))


@cache
def _variables(roots: tuple[Path, ...]) -> tuple[str, ...]:
    """Names of the environment's variables that a config file reads."""
    texts = (file.read_text() for file in _yamls(roots))
    found = {name for text in texts for name in re.findall(r"oc\.env:\s*(\w+)", text)}
    return tuple(sorted(found))


def _yamls(roots: Iterable[Path]) -> Iterator[Path]:
    return (path for root in roots for path in sorted(root.rglob("*.yaml")))


def _source() -> str:
    """Of all modules that a stage may come from."""
    found = (sources.module_file(name) for name in ("diffshortcut", *plugins()))
    return _digest(file for one in found if one for file in _with_siblings(one[1]))


def _with_siblings(module: Path) -> list[Path]:
    """All of a package, of whose `__init__.py` this is told; else the one file."""
    return sorted(module.parent.rglob("*.py")) if module.name == "__init__.py" else [module]


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{file}\0{content}\n".encode())
    return total.hexdigest()


def _files(tasks: Iterable[Task], store: Store, folder: Path) -> Iterator[Path]:
    """What the result consists of, then the pictures and weights it was made of."""
    yield from (path for path in folder.rglob("*") if path.is_file())
    for task in tasks:
        yield store.marker(task.stage, task.key)
        for name in task.sets if task.person else ():
            yield from getattr(task.person, name)
        for name in sorted(config.references(task.config)):
            yield from _tree(weights.locate(name))


def _tree(root: Path) -> Iterator[Path]:
    """A file, or a folder with all in it, behind links too: a folder's time tells of a new file."""
    yield root
    passed: set[Path] = set()  # a link may lead back
    for place, folders, files in os.walk(root, followlinks=True):
        passed.add(Path(place).resolve())
        folders[:] = [name for name in folders if Path(place, name).resolve() not in passed]
        yield from (Path(place, name) for name in (*folders, *files))


def _state(path: str) -> State | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
