"""Where a result comes from and what it cost; recorded beside it, never part of it."""

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

import diffshortcut

PACKAGES = ("torch", "diffusers", "transformers", "onnxruntime", "numpy", "pillow", "scipy")
OF_EXTRAS = ["peft", "accelerate", "bitsandbytes", "xformers", "kornia", "torchvision", "pyiqa"]
OF_EXTRAS += ["lpips", "facexlib", "insightface", "deepface", "codeformer-pip"]


@cache
def environment() -> dict[str, Any]:
    """Versions, machine and git commit; the commit ends in `+` if the checkout has changes."""
    return {
        "diffshortcut": diffshortcut.__version__,
        "git": _commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES} | _versions(OF_EXTRAS),
        "gpu": _gpu(),
        "platform": platform.platform(),
        "processor": _processor(),
    }


def machine_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process may take, where it can be told: the machine's, or its container's.

    A job or a container is ended when it passes the limit of its control group.
    """
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return min([machine, *_group_limits(root)])


def _group_limits(root: Path) -> Iterator[int]:
    """Limits of this process's control group and of those around it (cgroup v2, then v1)."""
    files = [root / "sys/fs/cgroup/memory/memory.limit_in_bytes"]
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            group = PurePosixPath(line.rpartition(":")[2].lstrip("/"))
            files += [root / "sys/fs/cgroup" / g / "memory.max" for g in (group, *group.parents)]
    for file in files:
        with suppress(OSError, ValueError):  # not there, or "max": no limit
            yield int(file.read_text())


@contextmanager
def cost() -> Iterator[dict[str, Any]]:
    """Fill a dict with the wall time in seconds and the peak memory in bytes of its block.

    With a GPU in use also with the peak of its tensors, `peak_device_memory`.
    """
    measured: dict[str, Any] = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    _reset_peak()
    start = time.perf_counter()
    yield measured
    measured["seconds"] = round(time.perf_counter() - start, 3)
    measured["peak_memory"] = _peak()
    if cuda := _cuda():
        measured["peak_device_memory"] = cuda.max_memory_allocated()


def _cuda() -> Any:
    """torch.cuda if this process uses it: asking does not import torch."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _reset_peak() -> None:
    if cuda := _cuda():
        cuda.reset_peak_memory_stats()
    with suppress(OSError):  # only Linux can forget an earlier peak
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _gpu() -> dict[str, str] | None:
    """Name of the GPU in use, with CUDA and cuDNN; None without one."""
    cuda = _cuda()
    if cuda is None:
        return None
    torch = sys.modules["torch"]
    return {
        "name": cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "cudnn": str(torch.backends.cudnn.version()),
    }


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """Of those that are installed."""
    return {name: found for name in packages if (found := _version(name))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        sha = _git(root, "rev-parse", "HEAD")
        return f"{sha}+" if _git(root, "status", "--porcelain") else sha
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def _processor() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    return platform.processor() or f"{os.cpu_count()} cores"
