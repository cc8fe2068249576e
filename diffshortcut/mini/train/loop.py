"""The one training loop of the mini zoo: resumable, seeded per step, averaged weights.

A recipe gives a module and a loss; the loop gives AdamW, a warm-up, gradient clipping, an
exponential moving average (EMA) of the weights, atomic checkpoints and a log of progress.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from diffshortcut.progress import track

Loss = Callable[[int, torch.Generator], tuple[Tensor, dict[str, float]]]


def generator(name: str, step: int) -> torch.Generator:
    """Seeded by the recipe's name and the step alone, so that a resumed run is equal."""
    seed = int.from_bytes(name.encode()[:4], "little") * 1_000_003 + step
    return torch.Generator().manual_seed(seed % 2**63)


class Averaged:
    """Exponential moving average of a module's floating-point state, with warm-up of the decay."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def update(self, module: nn.Module, step: int) -> None:
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value.detach(), 1 - keep)
            else:
                self.state[name].copy_(value)


def learning_rate(step: int, *, steps: int, peak: float, warmup: int, decay: float) -> float:
    """Linear warm-up, a plateau, and a linear decay to a twentieth over the last `decay` share."""
    start = steps * (1 - decay)
    falling = 1 - 0.95 * max(0.0, (step - start) / max(1.0, steps - start))
    return peak * min(1.0, (step + 1) / warmup) * falling


def save(path: Path, state: dict) -> None:
    """Write a checkpoint aside and rename it, so that a killed run never leaves half a file."""
    aside = path.with_suffix(".tmp")
    torch.save(state, aside)
    os.replace(aside, path)


def fit(
    *,
    name: str,
    module: nn.Module,
    loss: Loss,
    steps: int,
    work: Path,
    peak: float = 1e-3,
    warmup: int = 200,
    decay: float = 0.2,
    ema: float = 0.998,
    weight_decay: float = 1e-2,
    clip: float = 1.0,
    minutes: float = 3.0,
) -> float:
    """Train `module` in place to its averaged weights; return the wall time in seconds of all runs.

    `loss(step, generator)` returns a scalar and what to log. A checkpoint in `work` is resumed, so
    calling again with more `steps` trains on.
    """
    torch.manual_seed(0)
    work.mkdir(parents=True, exist_ok=True)
    path, log = work / f"{name}.pt", work / f"{name}.jsonl"
    weights = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=peak, betas=(0.9, 0.99), weight_decay=weight_decay)
    average, first, spent = Averaged(module, ema), 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True, mmap=True)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        average.state = {k: v.clone() for k, v in state["average"].items()}
        first, spent = state["step"], state["seconds"]
    began = saved = time.monotonic()

    def checkpoint(step: int) -> None:
        seconds = spent + time.monotonic() - began
        save(
            path,
            {
                "module": module.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.state,
                "step": step,
                "seconds": seconds,
            },
        )

    module.train()
    for step in track(range(first, steps), f"train {name}", total=max(0, steps - first)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps=steps, peak=peak, warmup=warmup, decay=decay)
        value, facts = loss(step, generator(name, step))
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(weights, clip)
        optimizer.step()
        average.update(module, step)
        if step % 50 == 0 or step == steps - 1:
            facts |= {
                "step": step,
                "loss": float(value.detach()),
                "seconds": spent + time.monotonic() - began,
            }
            with log.open("a") as file:
                file.write(json.dumps(facts) + "\n")
        if time.monotonic() - saved > 60 * minutes:
            checkpoint(step + 1)
            saved = time.monotonic()
    if first < steps:
        checkpoint(steps)
    module.load_state_dict(average.state)
    module.eval()
    return spent + time.monotonic() - began
