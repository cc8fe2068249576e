"""The device that stages compute on: which one, whose models it holds, what its errors say."""

import gc
import sys

from diffshortcut.errors import UserError

OUT_OF_MEMORY = (  # CUDA's, its libraries', PyTorch's on the CPU
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "can't allocate memory",
)
HEAVY = {"protect", "personalize"}  # stages that may need the whole device
_loaded: set[str] = set()  # the weights that stages have asked for since there was room


def chosen(wanted: str) -> str:
    """cpu or cuda, as wanted and as there is; UserError if there is no such device."""
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("runtime.device=cuda: this machine has no such device")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def make_room(stage: str, wanted: set[str]) -> None:
    """Models stay loaded until a stage needs others: then its own have the device to themselves.

    So they have before a heavy stage, if it does not want them all. `wanted` are weights.
    """
    from diffshortcut.models.remembered import forget

    if not wanted <= _loaded or (stage in HEAVY and wanted != _loaded):
        forget()
        free()
        _loaded.clear()
        _loaded.update(wanted)


def free() -> None:
    """Give back what the failed attempt held; loaded models stay."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_lost(error: Exception) -> bool:
    """Whether the process has lost its GPU: after such an error CUDA answers nothing else."""
    return "CUDA error" in str(error) and not is_out_of_memory(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether there was no room on the device, or none in the machine."""
    said = isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
    return said or isinstance(error, MemoryError)
