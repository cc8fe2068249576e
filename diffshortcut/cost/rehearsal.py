"""A stage as it would run, on tensors without values."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import chain
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffshortcut import progress
from diffshortcut.attacks import perturbation
from diffshortcut.config import config
from diffshortcut.cost import narrow, stand_ins
from diffshortcut.cost.ledger import Ledger
from diffshortcut.cost.nets import Nets
from diffshortcut.cost.shapes import shapes_only
from diffshortcut.dreambooth import Training
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.precision import Precision
from diffshortcut.purifiers import tvm
from diffshortcut.seeding import Draws
from diffshortcut.stages import protect


@cache
def nets() -> Nets:
    """One ledger, and what has been traced, for all stages of a plan."""
    return Nets(Ledger())


@contextmanager
def resident(ledger: Ledger) -> Iterator[None]:
    """Inside, the nets of every object that is built are entered into the books."""
    make = config.build

    def build(node: dict[str, Any], where: str = "") -> Any:
        built = make(node, where)
        for module in _modules(built, set()):
            ledger.call(chain(module.parameters(), module.buffers()), "weights")
        return built

    with patch.object(config, "build", build):
        yield


def _modules(value: Any, seen: set[int]) -> Iterator[nn.Module]:
    if id(value) in seen or isinstance(value, Tensor | type):
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, list | tuple):
        yield from (module for part in value for module in _modules(part, seen))
    elif isinstance(value, dict) or hasattr(value, "__dict__"):
        parts = value if isinstance(value, dict) else vars(value)
        yield from (module for part in parts.values() for module in _modules(part, seen))


@contextmanager
def rehearsing() -> Iterator[Ledger]:
    """Inside, models have no values and loops are short; a new book is kept."""
    known = nets()
    ledger = known.ledger
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        stack.enter_context(shapes_only())
        for owner, name, stand_in in (
            (Precision, "computing", narrow.computing),
            (Precision, "new_optimizer", stand_ins.optimizers(ledger)),
            (Training, "_step", stand_ins.steps(ledger)),
            (LatentDiffusion, "with_weights", stand_ins.trained),
            (LatentDiffusion, "encode_prompt", stand_ins.texts()),
            (perturbation, "ascend", stand_ins.ascents(ledger)),
            (tvm, "minimized", stand_ins.few(tvm.minimized)),
            (protect, "held_out", stand_ins.held_out(ledger)),
            (torch.nn.utils, "clip_grad_norm_", lambda *_, **__: None),
            (torch, "autocast", narrow.off),
            (Draws, "_stack", stand_ins.draws),
            (progress, "_lines", stand_ins.bars(ledger)),
            (progress, "_bar", stand_ins.bars(ledger)),
            (functional, "scaled_dot_product_attention", stand_ins.attention(ledger)),
        ):
            stack.enter_context(patch.object(owner, name, stand_in))
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        stack.enter_context(torch.device("meta"))
        stack.enter_context(ledger.anew())
        stack.enter_context(resident(ledger))
        stack.enter_context(known.replaying())
        stack.enter_context(ledger)
        yield ledger
