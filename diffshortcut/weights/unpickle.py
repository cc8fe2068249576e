"""Released .pt and .pth files: compared with their hash, then read without running anything."""

from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch

from diffshortcut.weights import digest, locate


def unpickled(reference: str) -> Any:
    """What the file of a weight reference holds: tensors on the CPU, in whatever they stand in.

    UserError if the file is missing, or is not the registered one.
    """
    file = _compared(reference)
    # files of before torch 1.6 are no archives, and cannot be mapped
    return torch.load(file, weights_only=True, mmap=is_zipfile(file), map_location="cpu")


def scripted(reference: str) -> torch.jit.ScriptModule:
    """The TorchScript archive of a weight reference, of which only the state is to be taken.

    UserError if the file is missing, or is not the registered one.
    """
    return torch.jit.load(str(_compared(reference)), map_location="cpu")


def _compared(reference: str) -> Path:
    digest(reference)  # refuses what is not the registered file; asked for once per process
    return locate(reference)
