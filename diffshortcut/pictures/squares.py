"""The center squares of photos of any size as one batch, and the way back into the photos."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffshortcut.pictures.images import center_square


def stack(photos: Sequence[Tensor]) -> Tensor:
    """(n, 3, s, s): the center square of each photo (3, h, w) in the top left corner, then zeros.

    s is the side of the largest.
    """
    squares = [center_square(photo) for photo in photos]
    side = max(len(square[0]) for square in squares)
    batch = photos[0].new_zeros(len(photos), 3, side, side)
    for place, square in zip(batch, squares, strict=True):
        _corner(place, square).copy_(square)
    return batch


def put_back(batch: Tensor, photos: Sequence[Tensor]) -> list[Tensor]:
    """The photos with their center squares from a version of the batch; all else is unchanged."""
    return [_with_square(photo, square) for photo, square in zip(photos, batch, strict=True)]


def sides(photos: Sequence[Tensor]) -> tuple[tuple[int, int], ...]:
    """Height and width of each photo's center square."""
    return tuple((side, side) for side in (min(photo.shape[-2:]) for photo in photos))


def _with_square(photo: Tensor, square: Tensor) -> Tensor:
    made = torch.clone(photo)
    place = center_square(made)
    place.copy_(_corner(square, place))
    return made


def _corner(canvas: Tensor, like: Tensor) -> Tensor:
    return canvas[:, : like.shape[1], : like.shape[2]]
