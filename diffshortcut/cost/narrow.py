"""Autocast on the meta device, which has none: what computes in 16 bits and what does not."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from diffshortcut.precision import Precision

NARROW = {  # of torch's list for CUDA, what the nets here call
    functional.linear,
    functional.conv2d,
    functional.conv_transpose2d,
    torch.conv2d,
    torch.matmul,
    torch.bmm,
    torch.baddbmm,
    torch.addmm,
    Tensor.matmul,
    Tensor.__matmul__,
    functional.scaled_dot_product_attention,
}
WIDE = {
    functional.group_norm,
    functional.layer_norm,
    functional.softmax,
    functional.normalize,
    torch.softmax,
    Tensor.softmax,
}
_dtype: ContextVar[torch.dtype | None] = ContextVar("dtype", default=None)


class Products(TorchFunctionMode):
    """Casts the arguments of products to 16 bits, of norms and softmax to 32."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        wanted = self.dtype if func in NARROW else torch.float32 if func in WIDE else None
        if wanted is not None:
            args, kwargs = tree_map_only(Tensor, lambda x: _cast(x, wanted), (args, kwargs))
        return func(*args, **kwargs)


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype) if x.is_floating_point() else x


def current() -> torch.dtype | None:
    """What products compute in here, if not as their arguments are."""
    return _dtype.get()


def products(dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Inside, products compute in `dtype`; None: in that of their arguments."""
    return nullcontext() if dtype is None else Products(dtype)


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """In the place of `Precision.computing`."""
    token = _dtype.set(None if precision.autocast is None else precision.dtype)
    try:
        yield
    finally:
        _dtype.reset(token)


def off(device_type: str, *_: Any, **__: Any) -> AbstractContextManager[Any]:
    """In the place of `torch.autocast`, which libraries use to turn it off."""
    return nullcontext()
