"""A call of a net by its shapes, and as a function that has a way back but does not compute."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffshortcut.cost.ledger import Ledger


@dataclass(frozen=True)
class Shape:
    """A tensor but for its values."""

    shape: torch.Size
    dtype: torch.dtype
    grad: bool

    @classmethod
    def of(cls, leaf: Any) -> Any:
        """Of a tensor; anything else as it is."""
        return cls(leaf.shape, leaf.dtype, leaf.requires_grad) if isinstance(leaf, Tensor) else leaf

    def make(self) -> Tensor:
        """A tensor of it."""
        made = torch.empty(self.shape, dtype=self.dtype, device="meta")
        return made.requires_grad_(self.grad)


@dataclass(frozen=True)
class Pass:
    """Operations forward or backward, and bytes at most besides those that were there before."""

    flops: float
    spike: int


@dataclass(frozen=True)
class Call:
    """A forward pass, the shapes of its arguments and result, and bytes kept for the way back."""

    given: list[Any]
    spec: Any
    result: list[Any]
    result_spec: Any
    forward: Pass
    saved: int
    dtype: torch.dtype | None  # of products, if not that of their arguments
    back: dict[tuple[bool, bool], Pass] = field(default_factory=dict)  # to inputs, to weights

    @property
    def differentiable(self) -> bool:
        """Whether any part of the result has a gradient."""
        return any(isinstance(leaf, Shape) and leaf.grad for leaf in self.result)


@dataclass
class Way:
    """One call on its way back."""

    ledger: Ledger
    call: Call
    back: Callable[[tuple[bool, bool]], Pass]  # to inputs, to weights
    charged: Pass = Pass(0, 0)

    def charge(self, inputs: bool, weights: bool) -> None:
        """Enter a backward pass into the books, less what has been entered of it."""
        found = self.back((inputs, weights))
        book, kept = self.ledger.book, self.call.saved if weights else 0
        book.flops += found.flops - self.charged.flops
        book.spike(found.spike + kept)
        self.charged = found


class ToInputs(torch.autograd.Function):
    """The result of a call as a function of its inputs, and of a token of its weights."""

    @staticmethod
    def forward(ctx: Any, way: Way, token: Tensor | None, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What has a gradient of the result."""
        ctx.way, ctx.inputs, ctx.token = way, [Shape.of(x) for x in inputs], token is not None
        # through checkpoints too, which drop what is saved
        ctx.save_for_backward(torch.empty(way.call.saved, dtype=torch.uint8, device="meta"))
        shapes = [s for s in way.call.result if isinstance(s, Shape) and s.grad]
        return tuple(shape.make().detach() for shape in shapes)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the inputs."""
        _ = ctx.saved_tensors
        ctx.way.charge(bool(ctx.inputs), False)
        token = torch.empty(0, device="meta") if ctx.token else None
        return None, token, *(shape.make().detach() for shape in ctx.inputs)


class ToWeights(torch.autograd.Function):
    """A token of the weights: its backward pass is run only if they want a gradient."""

    @staticmethod
    def forward(ctx: Any, way: Way, *weights: Tensor) -> Tensor:
        """The token: an empty tensor, from which the way back leads to the weights."""
        ctx.way, ctx.weights = way, [Shape.of(p) for p in weights]
        return torch.empty(0, device="meta")

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the weights."""
        way = ctx.way
        way.charge(any(isinstance(s, Shape) and s.grad for s in way.call.given), True)
        with way.ledger.of_kind("gradients"):
            return None, *(shape.make().detach() for shape in ctx.weights)
