"""The books of a run: floating-point operations, and bytes of tensors by kind at every moment."""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from diffshortcut.cost.answers import RefusedError, answer, as_if_there, guessed

Kind = Literal["weights", "gradients", "optimizer", "saved"]


@dataclass
class Book:
    """Operations so far, bytes now by kind, and what the bytes were when they were most.

    `trained` are the bytes of the weights that an optimizer has changed at once.
    """

    flops: float = 0
    live: Counter[Kind] = field(default_factory=Counter)
    peak: Counter[Kind] = field(default_factory=Counter)
    trained: int = 0
    guessed: bool = False  # how many places a mask has

    @property
    def total(self) -> int:
        """Bytes now."""
        return sum(self.live.values())

    @property
    def most(self) -> int:
        """Bytes at the peak."""
        return sum(self.peak.values())

    def add(self, kind: Kind, size: int) -> None:
        """Note that `size` more bytes of a kind are held, or fewer if it is negative."""
        self.live[kind] += size
        if size > 0 and self.total > self.most:
            self.peak = Counter(self.live)

    def spike(self, size: int) -> None:
        """Note that `size` more bytes were held for a moment: only the peak may rise."""
        self.add("saved", size)
        self.live["saved"] -= size


class Ledger(TorchDispatchMode):
    """Enters every tensor of `device` and every product and convolution into `book`.

    On the meta device, whose tensors have no values, questions about values are answered as
    `answers` says and tensors of the CPU that meet others count as moved. On the CPU it measures.
    """

    def __init__(self, device: str = "meta") -> None:
        super().__init__()
        self.device = device
        self.book = Book()
        self.kind: Kind = "saved"
        self._kinds: dict[int, Kind] = {}  # of storages, by id

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.device == "meta":
            self.book.guessed |= guessed(func, args)
            try:
                return answer(func, args, kwargs)
            except RefusedError:
                args, kwargs = as_if_there(args, kwargs)
        out = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.book.flops += count(*args, **kwargs, out_val=out)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.device.type == self.device:
                self.enter(leaf, self.kind)
        return out

    def enter(self, tensor: Tensor, kind: Kind) -> None:
        """A tensor that is there until nobody holds it; what is known already stays as it is."""
        storage = tensor.untyped_storage()
        if id(storage) in self._kinds:
            return
        key, size, book = id(storage), storage.nbytes(), self.book
        self._kinds[key] = kind
        book.add(kind, size)
        weakref.finalize(storage, _gone, key, size, book, self._kinds).atexit = False

    def call(self, tensors: Iterable[Tensor], kind: Kind) -> None:
        """Tensors are of a kind from now on, whether they are known or not."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            before = self._kinds.get(id(storage))
            if before is None:
                self.enter(tensor, kind)
            elif before != kind:
                self._kinds[id(storage)] = kind
                self.book.live[before] -= storage.nbytes()
                self.book.live[kind] += storage.nbytes()

    @contextmanager
    def anew(self) -> Iterator[None]:
        """Inside, nothing is there yet."""
        outer, self._kinds = self._kinds, {}
        try:
            with self.aside():
                yield
        finally:
            self._kinds = outer

    @contextmanager
    def aside(self) -> Iterator[Book]:
        """A book of its own for a part that is traced once and entered whenever it is used."""
        outer, self.book = self.book, Book()
        try:
            yield self.book
        finally:
            self.book = outer

    @contextmanager
    def of_kind(self, kind: Kind) -> Iterator[None]:
        """New tensors are of a kind."""
        before, self.kind = self.kind, kind
        try:
            yield
        finally:
            self.kind = before


def _gone(key: int, size: int, book: Book, kinds: dict[int, Kind]) -> None:
    book.live[kinds.pop(key)] -= size


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes of the tensors' storages, each once."""
    storages = {id(s): s for s in (tensor.untyped_storage() for tensor in tensors)}
    return sum(storage.nbytes() for storage in storages.values())
