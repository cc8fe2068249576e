"""What a tensor without values says when a method asks for one.

A method that reads values on its way (is it finite? has every face been found?) is told what lets
it go on: True, 1, zeros on the CPU, all places of a mask, and that two tensors differ.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten


class RefusedError(Exception):
    """No question about values: compute it."""


def answer(func: Any, args: Any, kwargs: Any) -> Any:
    """The result of an operation that needs values; RefusedError if it needs none."""
    if func is aten._local_scalar_dense.default and _missing(args[0]):
        return {torch.bool: True}.get(args[0].dtype, 1.0 if args[0].is_floating_point() else 1)
    if func is aten.equal.default and any(map(_missing, args)):
        return told(args[0]) is not None and told(args[0]) == told(args[1])
    if func is aten._to_copy.default and _missing(args[0]) and _to_cpu(kwargs):
        return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype, device="cpu")
    if func is aten.nonzero.default and _missing(args[0]):
        return _everywhere(args[0])
    if func is aten.index.Tensor and any(map(_is_mask, args[1])):
        return func(args[0], [i for index in args[1] for i in _places(index)])
    if func._schema.is_mutable and _is_cpu(args[0]) and any(map(_missing, tree_leaves(args))):
        return args[0]  # zeros stay zeros
    raise RefusedError


def as_if_there(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Tensors of the CPU moved to those without values, if there are both."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if len({tensor.device.type for tensor in tensors}) < 2:
        return args, kwargs
    return tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))


def tell(tensor: Tensor, what: Any) -> Tensor:
    """Name a tensor by what it was computed from: equal names are equal values."""
    tensor.told = what  # type: ignore[attr-defined]
    return tensor


def told(tensor: Tensor) -> Any:
    """The name, if it has one."""
    return getattr(tensor, "told", None)


def guessed(func: Any, args: Any) -> bool:
    """Whether an answer decides how large a result is: as large as it can be."""
    return func is aten.nonzero.default or (
        func is aten.index.Tensor and any(map(_is_mask, args[1]))
    )


def _places(index: Any) -> list[Any]:
    return list(_everywhere(index).unbind(1)) if _is_mask(index) else [index]


def _everywhere(mask: Tensor) -> Tensor:
    return mask.new_empty((mask.numel(), mask.ndim), dtype=torch.long)


def _is_mask(index: Any) -> bool:
    return _missing(index) and index.dtype == torch.bool


def _missing(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.device.type == "meta"


def _is_cpu(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.device.type == "cpu"


def _to_cpu(kwargs: Any) -> bool:
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == "cpu"
