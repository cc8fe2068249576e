"""Packages that only some roles need: imported when they are used, named when they are missing."""

import importlib
import importlib.util
from collections.abc import Iterable
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

EIGHT_BIT = "adamw8bit"
CHOICES = {  # values of a config -> (the package that they need, the extra that brings it)
    "diffshortcut.models.retinaface.load": ("facexlib", "full"),
    "diffshortcut.models.parsenet.load": ("facexlib", "full"),
    "diffshortcut.models.insight.load_detector": ("insightface", "full"),
    "diffshortcut.models.insight.load_recognizer": ("insightface", "full"),
    "diffshortcut.models.vgg_face.load": ("deepface", "full"),
    "diffshortcut.models.iqa.load": ("pyiqa", "full"),
    "diffshortcut.models.iqa.load_clip_iqa": ("pyiqa", "full"),
    "diffshortcut.models.lpips.load": ("lpips", "full"),
    EIGHT_BIT: ("bitsandbytes", "optim8"),
    "xformers": ("xformers", "gpu"),
}


def lacking(values: Iterable[object]) -> str | None:
    """What is not installed of what a config's values need, and how to install it."""
    needed = {CHOICES[value] for value in values if isinstance(value, str) and value in CHOICES}
    missing = {(p, e) for p, e in needed if importlib.util.find_spec(p) is None}
    if not missing:
        return None
    packages, found = sorted({p for p, _ in missing}), ",".join(sorted({e for _, e in missing}))
    return f"not installed: {', '.join(packages)}. pip install 'diffshortcut[{found}]'"


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
