"""Calls of nets, each traced once for its shapes and entered into the books whenever it happens.

The outermost call of any module is traced: forward, and once a gradient arrives, backward towards
its inputs, its weights, or both. The same call again, of a copy as well, costs nothing to plan.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from diffshortcut.cost import narrow
from diffshortcut.cost.calls import Call, Pass, Shape, ToInputs, ToWeights, Way
from diffshortcut.cost.ledger import Ledger, size


@dataclass(frozen=True)
class Kind:
    """What a module is, whatever its values are."""

    digest: int
    weights: list[nn.Parameter]

    @classmethod
    def of(cls, module: nn.Module) -> "Kind":
        """From its parts and the shapes of its weights."""
        weights = list(module.parameters())
        shapes = tuple((p.shape, p.dtype) for p in weights)
        return cls(hash((type(module), repr(module), shapes)), weights)


class Nets:
    """The calls traced so far."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._calls: dict[Any, Call] = {}
        self._kinds: WeakKeyDictionary[nn.Module, Kind] = WeakKeyDictionary()
        self._there: WeakSet[nn.Module] = WeakSet()
        self._inside = False

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """Inside, only the first call of a kind and shapes is computed."""

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return module._call_impl(*args, **kwargs)
            return self._replayed(module, args, kwargs)

        self._there.clear()
        with patch.object(nn.Module, "__call__", call):
            yield

    def arrive(self, module: nn.Module) -> None:
        """From now on a module is in memory."""
        if module not in self._there:
            self._there.add(module)
            self.ledger.call(chain(module.parameters(), module.buffers()), "weights")

    def back(self, call: Call, module: nn.Module, wanted: tuple[bool, bool]) -> Pass:
        """The backward pass of a call, traced when it is first asked for."""
        if not any(wanted):
            return Pass(0, 0)
        if wanted not in call.back:
            with self._tracing(call.dtype), torch.enable_grad():
                call.back[wanted] = self._trace_back(call, module, wanted)
        return call.back[wanted]

    def _replayed(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        self.arrive(module)
        if any(part._forward_hooks for part in module.modules()):  # somebody looks inside
            return self._watched(module, args, kwargs)
        leaves, spec = tree_flatten((args, kwargs))
        call = self._find(module, [Shape.of(leaf) for leaf in leaves], spec)
        self.ledger.book.flops += call.forward.flops
        self.ledger.book.spike(call.forward.spike)
        made: list[Any] = [s.make().detach() if isinstance(s, Shape) else s for s in call.result]
        if call.differentiable:
            inputs = [x for x in leaves if isinstance(x, Tensor) and x.requires_grad]
            weights = [p for p in module.parameters() if p.requires_grad]
            way = Way(self.ledger, call, partial(self.back, call, module))
            token = ToWeights.apply(way, *weights) if weights else None
            slopes = iter(ToInputs.apply(way, token, *inputs))
            made = [
                next(slopes) if isinstance(s, Shape) and s.grad else leaf
                for s, leaf in zip(call.result, made, strict=True)
            ]
        return tree_unflatten(made, call.result_spec)

    def _watched(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        self._inside = True
        try:
            with narrow.products(narrow.current()):
                return module._call_impl(*args, **kwargs)
        finally:
            self._inside = False

    def _find(self, module: nn.Module, given: list[Any], spec: Any) -> Call:
        modes = (torch.is_grad_enabled(), narrow.current())
        key = (*self._kind(module), *modes, str(given), str(spec))
        if key not in self._calls:
            with self._tracing(narrow.current()):
                self._calls[key] = self._trace(module, given, spec)
        return self._calls[key]

    def _kind(self, module: nn.Module) -> tuple[Any, ...]:
        """Equal for modules that compute the same."""
        if module not in self._kinds:
            self._kinds[module] = Kind.of(module)
        kind = self._kinds[module]
        recomputed = bool(getattr(module, "is_gradient_checkpointing", False))
        return kind.digest, tuple(p.requires_grad for p in kind.weights), recomputed

    @contextmanager
    def _tracing(self, dtype: torch.dtype | None) -> Iterator[None]:
        before, self._inside = self._inside, True
        hooks = torch.autograd.graph.saved_tensors_hooks(_itself, _itself)  # not a checkpoint's
        try:
            with self.ledger.aside(), narrow.products(dtype), hooks:
                yield
        finally:
            self._inside = before

    def _trace(self, module: nn.Module, given: list[Any], spec: Any) -> Call:
        book = self.ledger.book
        leaves = [leaf.make() if isinstance(leaf, Shape) else leaf for leaf in given]
        before = book.total
        args, kwargs = tree_unflatten(leaves, spec)
        found, found_spec = tree_flatten(module._call_impl(*args, **kwargs))
        known = {id(x.untyped_storage()) for x in leaves if isinstance(x, Tensor)}
        fresh = size(
            x for x in found if isinstance(x, Tensor) and id(x.untyped_storage()) not in known
        )
        saved = max(book.total - before - fresh, 0)
        forward = Pass(book.flops, max(book.most - before, 0))
        shapes = [Shape.of(leaf) for leaf in found]
        return Call(given, spec, shapes, found_spec, forward, saved, narrow.current())

    def _trace_back(self, call: Call, module: nn.Module, wanted: tuple[bool, bool]) -> Pass:
        book = self.ledger.book
        leaves = [leaf.make() if isinstance(leaf, Shape) else leaf for leaf in call.given]
        args, kwargs = tree_unflatten(leaves, call.spec)
        found = tree_leaves(module._call_impl(*args, **kwargs))
        ends = [x for x in found if isinstance(x, Tensor) and x.requires_grad]
        targets = [x for x in leaves if isinstance(x, Tensor) and x.requires_grad and wanted[0]]
        targets += [p for p in module.parameters() if p.requires_grad and wanted[1]]
        slopes = [torch.empty_like(end) for end in ends]
        flops, before, book.peak = book.flops, book.total, Counter(book.live)
        # torch.autograd.grad would suspend `narrow` for what is recomputed on the way back
        run = torch.autograd.graph._engine_run_backward
        given = (tuple(ends), tuple(slopes), False, False, tuple(targets))
        run(*given, allow_unreachable=True, accumulate_grad=False)
        return Pass(book.flops - flops, max(book.most - before, 0))


def _itself(saved: Tensor) -> Tensor:
    return saved
