"""What would compute in loops or on a device, by what only leaves the same in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from diffshortcut.attacks.pgd import Loss, ascend
from diffshortcut.cost.answers import tell
from diffshortcut.cost.ledger import Ledger, size
from diffshortcut.dreambooth import Instances, Training
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.pictures.images import batches
from diffshortcut.precision import Precision
from diffshortcut.seeding import Draws, Images

BLOCK = 256  # values of an 8-bit moment that share a scale
LEAST_8BIT = 4096  # values of a tensor whose moments are kept in 8 bits


class Moments(Optimizer):
    """AdamW that only has its two moments, in 32 bits or as bitsandbytes keeps them in 8."""

    def __init__(self, parameters: Iterable[nn.Parameter], ledger: Ledger, *, eight: bool) -> None:
        super().__init__(parameters, {})
        self.ledger, self.eight = ledger, eight

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Make the state of parameters that have a gradient."""
        weights = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.ledger.call((p.grad for p in weights), "gradients")
        self.ledger.book.trained = max(self.ledger.book.trained, size(weights))
        with self.ledger.of_kind("optimizer"):
            for p in weights:
                if p not in self.state:
                    self.state[p] = {str(i): value for i, value in enumerate(self._moments(p))}

    def _moments(self, p: Tensor) -> list[Tensor]:
        if not self.eight or p.numel() < LEAST_8BIT:
            dtype = torch.float32 if self.eight else p.dtype
            return [torch.empty_like(p, dtype=dtype, device="meta") for _ in range(2)]
        scales = torch.empty(2, -(-p.numel() // BLOCK), device="meta")
        return [torch.empty(2, p.numel(), dtype=torch.uint8, device="meta"), scales]


class Attention(torch.autograd.Function):
    """A fused kernel: the products of queries, keys and values are never whole in memory."""

    @staticmethod
    def forward(ctx: Any, ledger: Ledger, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The values' means, and a sum per row for the way back."""
        rows, sums = query.shape[:-1], torch.empty(query.shape[:-1], device="meta")
        out = torch.empty(*rows, value.shape[-1], dtype=query.dtype, device="meta")
        ctx.ledger = ledger
        ctx.flops = 2 * rows.numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        ledger.book.flops += ctx.flops
        ctx.save_for_backward(query, key, value, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """Four products where forward has two; that a kernel repeats is not counted."""
        ctx.ledger.book.flops += 2 * ctx.flops
        query, key, value, *_ = ctx.saved_tensors
        return None, *(torch.empty_like(x) for x in (query, key, value))


def attention(ledger: Ledger) -> Callable[..., Tensor]:
    """In the place of torch.nn.functional.scaled_dot_product_attention."""

    def fused(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        return Attention.apply(ledger, query, key, value)

    return fused


def optimizers(ledger: Ledger) -> Callable[..., Optimizer]:
    """In the place of `Precision.new_optimizer`."""

    def new(precision: Precision, parameters: Iterable[nn.Parameter], rate: float) -> Optimizer:
        return Moments(parameters, ledger, eight=precision.optimizer == "adamw8bit")

    return new


def steps(ledger: Ledger) -> Callable[[Training, Instances], Tensor]:
    """In the place of `Training._step`: a step is counted once two like it have been taken."""
    step = Training._step
    known: WeakKeyDictionary[Training, dict[Any, float]] = WeakKeyDictionary()

    def counted(training: Training, instances: Instances) -> Tensor:
        flops = known.setdefault(training, {})
        if not training.optimizer.state:  # its first step makes its moments
            return step(training, instances)
        kind = (type(instances), len(training.model.trainable_parameters()))
        if kind not in flops:
            before = ledger.book.flops
            loss = step(training, instances)
            flops[kind] = ledger.book.flops - before
            return loss
        ledger.book.flops += flops[kind]
        return torch.ones((), device="meta")

    return counted


def ascents(ledger: Ledger) -> Callable[..., Tensor]:
    """In the place of `attacks.pgd.ascend`: two steps that cost the same stand for all."""

    def ascended(x: Tensor, *args: Any, steps: int, first_step: int = 0, **kwargs: Any) -> Tensor:
        for number in walk(ledger, range(steps)):
            x = ascend(x, *args, steps=1, first_step=first_step + number, **kwargs)
        return x

    return ascended


def held_out(ledger: Ledger) -> Callable[..., list[float]]:
    """In the place of `stages.protect.held_out`: one draw stands for all."""

    def counted(loss: Loss, images: Tensor, count: int, micro_batch: int | None) -> list[float]:
        flops = ledger.book.flops
        with torch.no_grad():
            for part in batches(len(images), micro_batch):
                loss(images[part.start : part.stop], part, 0)
        ledger.book.flops += (count - 1) * (ledger.book.flops - flops)
        return [0.0] * len(images)

    return counted


def trained(model: LatentDiffusion, folder: Path) -> LatentDiffusion:
    """In the place of `LatentDiffusion.with_weights`: weights of the same shapes."""
    copied = model.copy()
    for net in (copied.unet, copied.text_encoder):
        net.requires_grad_(False)
    return copied


def texts() -> Callable[[LatentDiffusion, Sequence[str]], Tensor]:
    """In the place of `LatentDiffusion.encode_prompt`: equal prompts are known as equal."""
    encode = LatentDiffusion.encode_prompt
    return lambda model, prompts: tell(encode(model, prompts), tuple(prompts))


def draws(self: Draws, purpose: str, images: Images, step: int, draw: Any) -> Tensor:
    """In the place of `Draws._stack`: zeros of the same shape."""
    count = images if isinstance(images, int) else len(images)
    with torch.device("cpu"):
        one = torch.zeros_like(draw(Generator()))
        return torch.stack([one] * count)


def bars(ledger: Ledger) -> Callable[..., Iterator[Any]]:
    """In the place of a progress bar."""
    return lambda iterable, what, total: walk(ledger, iterable)


def walk(ledger: Ledger, iterable: Iterable[Any]) -> Iterator[Any]:
    """The items of a loop until its turns have become alike, then the last one.

    Turns are alike when the operations and the memory afterwards are those of the turn before; the
    turns that are left out are entered into the book.
    """
    items = iterable if isinstance(iterable, Sequence) else list(iterable)
    number, before = 0, None
    while number < len(items):
        flops = ledger.book.flops
        yield items[number]
        flops, held = ledger.book.flops - flops, ledger.book.total
        left = len(items) - number - 2
        if (flops, held) == before and left > 0:
            ledger.book.flops += flops * left
            number += left
        number, before = number + 1, (flops, held)


def few(minimized: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """In the place of `purifiers.tvm.minimized`, whose turns have no products."""
    return lambda x, kept, weight, iterations: minimized(x, kept, weight, min(iterations, 3))
