"""How images are kept between iterations: in float, or in 8 bit made in one of three ways."""

from torch import Tensor

from diffshortcut.pictures.images import quantize

STORAGES = ("float", "uint8", "truncated", "wrapped")


def stored(images: Tensor, storage: str) -> Tensor:
    """Images as they are, rounded to levels, or cast to bytes as torchvision's ToPILImage does.

    Such a cast drops fractions of a level, and what is outside of [0, 1] wraps around: -0.01
    becomes 254, 1.02 becomes 4. `truncated` is the cast of code whose images are never outside.
    """
    if storage == "float":
        return images
    if storage == "uint8":
        return quantize(images)
    if storage == "truncated":
        return (images * 255).clamp(0, 255).trunc() / 255
    return (images * 255).trunc().remainder(256) / 255


def clips(storage: str) -> bool:
    """Whether images may be clipped before they are stored; what is to wrap must not be."""
    return storage != "wrapped"


def check_storage(storage: str) -> None:
    """ValueError for a word that `stored` does not know."""
    if storage not in STORAGES:
        raise ValueError(f"storage must be one of {', '.join(STORAGES)}, not {storage!r}")
