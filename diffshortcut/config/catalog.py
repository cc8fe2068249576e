"""The config groups, ours, of plug-ins and of the command line: what can be chosen."""

import os
import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from diffshortcut.config.schema import plugins
from diffshortcut.errors import UserError

PACKAGE = Path(__file__).parent.parent
SEARCHPATH = "DIFFSHORTCUT_SEARCHPATH"  # folders of configs, for this process and those it starts
CHAINED = ("purifier", "metric")  # groups that take several options, one after the other


@cache
def folder() -> Path:
    """The config's folder: inside the wheel, or beside the package in a checkout."""
    inside = PACKAGE / "_conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


def roots() -> tuple[Path, ...]:
    """The folders of config groups: ours, `conf` of every plug-in, then what `adopt` was given."""
    return (folder(), *_of_plugins(), *_adopted())


def _adopted() -> list[Path]:
    return [Path(place) for place in os.environ.get(SEARCHPATH, "").split(os.pathsep) if place]


@cache
def _of_plugins() -> tuple[Path, ...]:
    specs = {name: find_spec(name) for name in plugins()}
    if absent := [name for name, spec in specs.items() if spec is None]:
        raise UserError(f"the plug-in {absent[0]} cannot be imported: is it on PYTHONPATH?")
    packages = (Path(p) for s in specs.values() if s for p in s.submodule_search_locations or ())
    return tuple(p / "conf" for p in packages if (p / "conf").is_dir())


def adopt(words: Sequence[str]) -> list[str]:
    """The words of a command line without hydra.searchpath, whose folders are `roots` from now on.

    Hydra takes one such word only, and the jobs of a sweep, wherever they run, are not told of it.
    UserError for what is no folder.
    """
    is_it = [word.partition("=")[0].lstrip("+") == "hydra.searchpath" for word in words]
    named = [word for word, found in zip(words, is_it, strict=True) if found]
    if named:
        value = OverridesParser.create().parse_override(named[-1]).value()
        places = [_searched(str(each)) for each in (value if isinstance(value, list) else [value])]
        os.environ[SEARCHPATH] = os.pathsep.join(map(str, places))
    return [word for word, found in zip(words, is_it, strict=True) if not found]


def adopted() -> list[str]:
    """The word that `adopt` has taken, if any, for a command that is shown or kept."""
    return _shown(_adopted())


def _searched(place: str) -> Path:
    scheme, _, name = place.rpartition("://")
    found = Path(os.path.abspath(Path(name).expanduser()))
    if scheme not in ("", "file") or not found.is_dir():
        raise UserError(f"hydra.searchpath: {place} is no folder, such as file://{Path.cwd()}/conf")
    return found


def groups() -> dict[str, list[str]]:
    """Every config group with all its options, nested presets such as `gaussian/legacy` too.

    A file whose name starts with _ is a part of options, not one. Files that are added later are
    not seen: a sweep of hundreds of jobs would look through the folders ten thousand times.
    """
    return _groups(roots())


@cache
def _groups(roots: tuple[Path, ...]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for root in roots:
        for file in root.glob("*/**/*.yaml"):
            group, *option = file.relative_to(root).with_suffix("").parts
            if group != "hydra" and not file.name.startswith("_"):
                found.setdefault(group, set()).add("/".join(option))
    return {group: sorted(options) for group, options in sorted(found.items())}


def descriptions() -> dict[str, list[tuple[str, str]]]:
    """Every group with its options, each with the first sentence of its yaml that is about it."""
    return {
        group: [(option, _description(group, option)) for option in options]
        for group, options in groups().items()
    }


def _description(group: str, option: str) -> str:
    """The first comment that is neither a package nor a command, as far as its line makes sense."""
    files = (root / group / f"{option}.yaml" for root in roots())
    lines = next(file for file in files if file.is_file()).read_text().splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        said = line.removeprefix("# ").strip()
        if line.startswith("# ") and not re.match(r"@package|python -m|[\w.]+=", said):
            cut = following.startswith("# ") and said[-1] not in ".?"
            return _shortened(said) if cut else said
    return ""


def _shortened(line: str) -> str:
    """A line that its next one continues, up to its last whole sentence, or else its last clause.

    Neither ends within brackets, whose commas are those of intervals and asides.
    """
    depth, opened, outside = 0, len(line), ""
    for at, letter in enumerate(line):
        opened = at if letter in "([" and not depth else opened
        depth += (letter in "([") - (letter in ")]")
        outside += "_" if depth else letter
    if depth:  # the bracket is closed in the next line
        line = line[:opened].rstrip()
    for end in (r"[.?](?= |$)", r"(?=[,;] |[,;]$)", r"(?=: )"):
        if found := [*re.finditer(end, outside[: len(line)])]:
            return line[: found[-1].end()]
    return line


def search_path() -> list[str]:
    """The override that shows the config folders besides ours to Hydra."""
    return _shown(roots()[1:])


def _shown(folders: Sequence[Path]) -> list[str]:
    quoted = ",".join(f"'file://{folder}'" for folder in folders)
    return [f"hydra.searchpath=[{quoted}]"] if quoted else []
