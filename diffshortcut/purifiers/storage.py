"""How images are kept between iterations: in float, in 8 bit, or in 8 bit that wraps."""

from torch import Tensor

from diffshortcut.images import quantize

STORAGES = ("float", "uint8", "wrapped")


def stored(images: Tensor, storage: str) -> Tensor:
    """Images as they are, rounded to levels, or cast to bytes as released code does.

    Such a cast wraps around: -0.01 becomes 254, 1.02 becomes 4.
    """
    if storage == "float":
        return images
    if storage == "uint8":
        return quantize(images)
    return (images * 255).trunc().remainder(256) / 255


def check_storage(storage: str) -> None:
    """ValueError for a word that `stored` does not know."""
    if storage not in STORAGES:
        raise ValueError(f"storage must be one of {', '.join(STORAGES)}, not {storage!r}")
