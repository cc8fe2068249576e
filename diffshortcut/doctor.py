"""`python -m diffshortcut.doctor`: what this machine can run, and what each missing thing needs."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from diffshortcut.report.sheet import Sheet
from diffshortcut.weights import MINI, registry

EXTRAS = {  # extra -> (what has to be importable, what it is for)
    "mini": (("anny", "numba"), "draw portraits and train the mini zoo"),
    "faces": (("insightface", "deepface"), "the full zoo's recognizers"),
    "metrics": (("torchvision", "pyiqa", "lpips"), "LIQE, CLIP-IQA and LPIPS of the full zoo"),
    "restore": (("spandrel", "spandrel_extra_arches"), "CodeFormer of the full zoo"),
    "dashboard": (("wandb_workspaces",), "the W&B workspace from code"),
    "gpu": (("bitsandbytes", "xformers"), "8-bit AdamW, memory-efficient attention"),
}
SMALL = 4e9  # bytes of memory that the main job on the mini zoo has room in


def rows() -> Iterator[list[str]]:
    """What is looked at, what was found, and what it means."""
    yield ["python", platform.python_version(), "ok"]
    yield from _torch()
    memory = _memory()
    enough = memory is None or memory > SMALL
    found = "unknown" if memory is None else registry.size(memory)
    yield ["memory", found, "ok" if enough else "too little for the main job: 4 GB"]
    free = shutil.disk_usage(Path.cwd()).free
    yield ["free disk here", registry.size(free), "about 20 MB for each victim of the mini zoo"]
    whole = all((MINI / name).is_dir() for name in ("mini_a", "codeformer", "upscaler", "clip"))
    yield [
        "zoo=mini",
        "there" if whole else "not whole",
        "ok" if whole else "reinstall the package",
    ]
    there = [entry.name for entry in registry.entries().values() if not entry.missing()]
    hint = "python -m diffshortcut.weights list"
    yield ["zoo=full", ", ".join(there) or "no weights", "ok" if there else hint]
    for extra, (modules, purpose) in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        found = f"no {', '.join(missing)}" if missing else "there"
        hint = f"pip install 'diffshortcut[{extra}]'" if missing else "ok"
        yield [f"extra {extra}: {purpose}", found, hint]


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
        yield ["CUDA", f"{found}, {registry.size(room)}", "ok"]
    else:
        cores = os.cpu_count() or 1
        yield ["CUDA", "no device", f"the CPU's {cores} cores: zoo=mini, runtime.threads={cores}"]


def _memory() -> int | None:
    """Bytes of this machine, where it can be told."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def main() -> None:
    """Print it."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(Sheet("this machine", ["what", "found", ""], list(rows())).rich())


if __name__ == "__main__":
    main()
