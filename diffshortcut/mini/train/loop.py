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


class Run:
    """A module in training with its optimizer, its average, its checkpoint and its log."""

    def __init__(
        self, module: nn.Module, path: Path, *, peak: float, ema: float, weight_decay: float
    ) -> None:
        self.module, self.path = module, path
        self.weights = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=peak, betas=(0.9, 0.99), weight_decay=weight_decay
        )
        self.average, self.first, self.spent = Averaged(module, ema), 0, 0.0
        if path.exists():
            self._resume()
        self.began = self.saved = time.monotonic()

    def _resume(self) -> None:
        state = torch.load(self.path, weights_only=True, mmap=True)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.state = {k: v.clone() for k, v in state["average"].items()}
        self.first, self.spent = state["step"], state["seconds"]

    @property
    def seconds(self) -> float:
        """Wall time of all runs so far."""
        return self.spent + time.monotonic() - self.began

    def update(self, value: Tensor, *, rate: float, clip: float, step: int) -> None:
        """One step of the optimizer and of the average."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, clip)
        self.optimizer.step()
        self.average.update(self.module, step)

    def note(self, facts: dict[str, float]) -> None:
        """Append one line to the log beside the checkpoint."""
        with self.path.with_suffix(".jsonl").open("a") as file:
            file.write(json.dumps(facts | {"seconds": self.seconds}) + "\n")

    def save(self, step: int) -> None:
        """Write the checkpoint aside and rename it: a killed run never leaves half a file."""
        aside = self.path.with_suffix(".tmp")
        state = {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state,
            "step": step,
            "seconds": self.seconds,
        }
        torch.save(state, aside)
        os.replace(aside, self.path)
        self.saved = time.monotonic()


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
    run = Run(module, work / f"{name}.pt", peak=peak, ema=ema, weight_decay=weight_decay)
    first = run.first
    module.train()
    for step in track(range(first, steps), f"train {name}", total=max(0, steps - first)):
        rate = learning_rate(step, steps=steps, peak=peak, warmup=warmup, decay=decay)
        value, facts = loss(step, generator(name, step))
        run.update(value, rate=rate, clip=clip, step=step)
        if step % 50 == 0 or step == steps - 1:
            run.note(facts | {"step": step, "loss": float(value.detach())})
        if time.monotonic() - run.saved > 60 * minutes:
            run.save(step + 1)
    if first < steps:
        run.save(steps)
    module.load_state_dict(run.average.state)
    module.eval()
    return run.seconds
