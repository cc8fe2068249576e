"""`python -m diffshortcut.doctor`: what this machine can run, and what each missing thing needs."""

import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from diffshortcut import disk
from diffshortcut.artifacts.provenance import machine_memory
from diffshortcut.config import config, usage
from diffshortcut.errors import UserError
from diffshortcut.extras import EXTRAS
from diffshortcut.progress import output
from diffshortcut.report.sheet import Sheet
from diffshortcut.units import size
from diffshortcut.weights import MINI, SUMS, registry

FULL = ("sd21base", "sd20base", "sd21", "sd15", "sd14")  # victims; the first is the default
SMALL = 4e9  # bytes of memory that the main job on the mini zoo has room in


def rows() -> Iterator[list[str]]:
    """What is looked at, what was found, and what it means."""
    yield ["python", platform.python_version(), "ok"]
    yield from _torch()
    memory = machine_memory()
    enough = memory is None or memory > SMALL
    found = "unknown" if memory is None else size(memory)
    yield ["memory", found, "ok" if enough else "too little for the main job: 4 GB"]
    yield ["memory for zoo=full", found, "python -m diffshortcut.plan zoo=full ... tells the need"]
    free = disk.free(Path.cwd())
    yield ["free disk here", size(free), "about 20 MB for each victim of the mini zoo"]
    sums = MINI / SUMS
    whole = sums.is_file() and all((MINI / file).is_file() for file in json.loads(sums.read_text()))
    yield [
        "zoo=mini",
        "there" if whole else "not whole",
        "ok" if whole else "reinstall the package",
    ]
    yield from _roles()
    for extra, (modules, purpose) in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        found = f"no {', '.join(missing)}" if missing else "there"
        hint = f"pip install 'diffshortcut[{extra}]'" if missing else "ok"
        yield [f"extra {extra}: {purpose}", found, hint]


def _roles() -> Iterator[list[str]]:
    """Of the full zoo: the weights that fill each role, and how to fetch what is missing."""
    composed = config.resolve(config.compose(["zoo=full"]))
    victims = {
        f"model={name}": config.resolve(config.compose(["zoo=full", f"model={name}"]))["model"]
        for name in FULL
    }
    for role, node in {**victims, **composed["zoo"]}.items():
        asked = config.references(node)
        names = sorted({reference.partition(":")[2].partition("/")[0] for reference in asked})
        missing = [name for name in names if registry.entry(name).missing()]
        hint = f"python -m diffshortcut.weights fetch {' '.join(missing)}" if missing else "ok"
        if names:
            found = f"no {', '.join(missing)}" if missing else ", ".join(names)
            yield [f"zoo=full {role}", found, hint]


def _torch() -> Iterator[list[str]]:
    try:
        import torch
    except ImportError:
        yield ["torch", "missing", "make setup"]
        return
    yield ["torch", torch.__version__, "ok"]
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found = f"{torch.cuda.device_count()} x {properties.name}"
        room = properties.total_memory
        yield ["CUDA", f"{found}, {size(room)}", "ok"]
    else:
        cores = os.cpu_count() or 1
        yield ["CUDA", "no device", f"the CPU's {cores} cores: zoo=mini, runtime.threads={cores}"]


def main() -> None:
    """Print the table of `rows`. It takes no arguments: another word than --help is a mistake."""
    words = sys.argv[1:]
    if usage.FOR_HELP & set(words):
        print(__doc__)
        return
    with usage.one_line(words):
        usage.check_flags(words, sorted(usage.FOR_HELP))
        if words:
            raise UserError(f"the doctor takes no arguments, not '{words[0]}'")
        table = list(rows())
    output().print(Sheet("this machine", ["what", "found", ""], table).rich())


if __name__ == "__main__":
    main()
