"""Released .pt and .pth files: compared with their hash, then read without running anything."""

from typing import Any
from zipfile import is_zipfile

import torch

from diffshortcut.weights import locate, registry, scheme


def unpickled(reference: str) -> Any:
    """What the file of a weight reference holds: tensors on the CPU, in whatever they stand in.

    UserError if the file is missing, or is not the registered one.
    """
    file = locate(reference)
    if scheme(reference) == "full":
        registry.refuse_changed(reference.partition(":")[2])
    # files of before torch 1.6 are no archives, and cannot be mapped
    return torch.load(file, weights_only=True, mmap=is_zipfile(file), map_location="cpu")
