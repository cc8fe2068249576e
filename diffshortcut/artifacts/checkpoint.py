"""Long loops that survive kill -9: what they change is written now and then, and read again."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, as_tensor, device, empty_like, int64, nn, uint8
from torch.optim import Optimizer

from diffshortcut import progress
from diffshortcut.disk import replacing

log = logging.getLogger(__name__)
SHORT = 60  # seconds: a loop that took less is repeated rather than kept once it is finished
ABANDONED = 3600  # seconds after which nobody writes a file any more


class Variables(SimpleNamespace):
    """What a loop changes, by name: tensors, lists of tensors, or objects with a `state_dict`."""

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors."""
        found: dict[str, Tensor] = {}
        for name, value in vars(self).items():
            found |= {f"{name}/{key}": part for key, part in _parts(value).items()}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set every variable to what `tensors` gave: tensors anew, objects in place."""
        for name, value in list(vars(self).items()):
            parts = {
                key.removeprefix(f"{name}/"): part
                for key, part in tensors.items()
                if key.startswith(f"{name}/")
            }
            if isinstance(value, Tensor):
                setattr(self, name, parts["value"].to(value))
            elif isinstance(value, list):
                setattr(self, name, [parts[str(i)] for i in range(len(parts))])
            else:
                value.load_state_dict(parts)


@dataclass(frozen=True)
class Checkpoint:
    """Where loops write their state, at most every `minutes`; nowhere without a folder."""

    folder: Path | None = None
    minutes: float = 10.0

    def track(self, steps: range, what: str, variables: Variables) -> Iterator[int]:
        """Yield `steps` under a progress bar, from where an earlier process stopped.

        A loop of another name in the same folder has a file of its own; the state of a finished
        loop stays, so that the loops after it need not repeat it.
        """
        done = self._load(what, variables)
        start = last = time.monotonic()
        for number in progress.track(steps[done:], what):
            yield number
            done += 1
            now = time.monotonic()
            finished_late = done == len(steps) and now - start > SHORT
            if now - last >= 60 * self.minutes or finished_late:
                self._save(what, done, variables)
                last = now

    def _file(self, what: str) -> Path | None:
        name = "".join(letter if letter.isalnum() else "-" for letter in what)
        return self.folder / f"{name}.safetensors" if self.folder else None

    def _load(self, what: str, variables: Variables) -> int:
        file = self._file(what)
        if file is None or not file.is_file():
            return 0
        try:
            tensors, done = _read(file)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is broken (%s): %s begins again", file, error, what)
            return 0
        variables.restore(tensors)
        return done

    def _save(self, what: str, done: int, variables: Variables) -> None:
        file = self._file(what)
        if file is None:
            return
        tensors, text = _unshared(variables.tensors()), json.dumps(done)
        for left in file.parent.glob(f".{file.name}-*"):  # of a process that was killed here
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > ABANDONED:
                    left.unlink()
        with replacing(file) as aside:
            save_file(tensors, aside, metadata={"done": text, "sha256": _digest(tensors, text)})


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The moments and step counts of an optimizer, by parameter and name.

    Counts that are integers, as those of 8-bit optimizers, become int64 tensors.
    """
    return dict(_flat(optimizer.state_dict()["state"]))


def load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The reverse of `optimizer_tensors`."""
    state: dict[Any, Any] = {}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for name, value in tensors.items():
        number, *path, last = name.split(".")
        row = state.setdefault(int(number), {})
        for key in path:
            row = row.setdefault(key, {})
        is_count = value.ndim == 0 and value.dtype == int64
        row[last] = int(value) if is_count else _laid_out(value, weights[int(number)])
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _laid_out(value: Tensor, weight: Tensor) -> Tensor:
    """In memory as its weight is, channels last or not: fused optimizers go by the memory."""
    if value.shape != weight.shape:
        return value
    return empty_like(weight, dtype=value.dtype, device=value.device).copy_(value)


def _flat(tree: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", as_tensor(value)


def trained_tensors(weights: Sequence[nn.Parameter], optimizer: Optimizer) -> dict[str, Tensor]:
    """What is trained, and its optimizer, as named tensors."""
    named = {f"weight.{i}": weight.data for i, weight in enumerate(weights)}
    moments = optimizer_tensors(optimizer)
    return named | {f"optimizer.{name}": value for name, value in moments.items()}


def load_trained(
    weights: Sequence[nn.Parameter], optimizer: Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """The reverse of `trained_tensors`, in place."""
    for i, weight in enumerate(weights):
        weight.data.copy_(tensors[f"weight.{i}"])
    moments = {k.removeprefix("optimizer."): v for k, v in tensors.items() if "optimizer" in k}
    load_optimizer(optimizer, moments)


def _read(file: Path) -> tuple[dict[str, Tensor], int]:
    """The tensors of a state and the steps done; an error if it is not what was written."""
    with safe_open(file, "pt") as stored:
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        metadata = stored.metadata()
    if metadata["sha256"] != _digest(tensors, metadata["done"]):
        raise ValueError("it has changed since it was written")
    return tensors, json.loads(metadata["done"])


def _digest(tensors: Mapping[str, Tensor], done: str) -> str:
    total = hashlib.sha256(done.encode())
    for key, value in sorted(tensors.items()):
        total.update(f"{key} {value.dtype} {list(value.shape)}".encode())
        total.update(value.reshape(-1).view(uint8).numpy().data)
    return total.hexdigest()


def _parts(value: Any) -> Mapping[str, Tensor]:
    if isinstance(value, Tensor):
        return {"value": value}
    if isinstance(value, list):
        return {str(i): part for i, part in enumerate(value)}
    return value.state_dict()


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, in order and none in another's memory, as safetensors wants them.

    What is so already is not copied: a pool of snapshots is 29 GB of Stable Diffusion.
    """
    found: dict[str, Tensor] = {}
    taken: set[int] = set()
    for key, value in tensors.items():
        part = value.detach().to(device("cpu")).contiguous()
        if (memory := part.untyped_storage().data_ptr()) in taken:
            part = part.clone()
        taken.add(memory)
        found[key] = part
    return found
