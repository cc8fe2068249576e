"""Packages that only some roles need: imported when they are used, named when they are missing."""

import importlib
from types import ModuleType

from diffshortcut.errors import UserError

EXTRAS = {  # extra -> (what has to be importable, what it is for)
    "mini": (("anny", "numba"), "draw portraits and train the mini zoo"),
    "full": (
        ("torchvision", "pyiqa", "lpips", "facexlib", "insightface", "deepface"),
        "faces, quality and perceptual distance of the full zoo",
    ),
    "dashboard": (("wandb_workspaces",), "the W&B workspace from code"),
    "optim8": (("bitsandbytes",), "8-bit AdamW"),
    "gpu": (("bitsandbytes", "xformers"), "8-bit AdamW, memory-efficient attention"),
    "grid": (("ray",), "grids on several workers"),
}


def load(module: str, extra: str) -> ModuleType:
    """A module by its dotted name; UserError saying which extra brings what is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "diffshortcut":
            raise
        raise UserError(
            f"{module.partition('.')[0]} cannot be imported: there is no module {error.name}."
            f" The extra [{extra}] brings it: pip install 'diffshortcut[{extra}]'"
        ) from error
