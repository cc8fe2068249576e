"""Long loops: stopped anywhere and called again, they end with the bytes of an unbroken run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffshortcut.artifacts import checkpoint
from diffshortcut.artifacts.checkpoint import (
    Checkpoint,
    Variables,
    load_optimizer,
    optimizer_tensors,
)


class Counter:
    """Something with a state of its own."""

    def __init__(self) -> None:
        self.total = torch.zeros(())

    def state_dict(self) -> dict[str, Tensor]:
        return {"total": self.total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.total = state["total"]


def loop(folder: Path | None, stop: int | None, minutes: float = 0) -> tuple[Variables, list[int]]:
    """Ten steps; KeyboardInterrupt in step `stop`, after it has changed everything."""
    state = Variables(x=torch.zeros(2), pool=[torch.ones(1)], counter=Counter())
    seen: list[int] = []
    for number in Checkpoint(folder, minutes).track(range(10), "a loop: of ten", state):
        seen.append(number)
        state.x = state.x + number
        state.pool = [*state.pool, state.pool[-1] + 1]
        state.counter.total = state.counter.total + 1
        if number == stop:
            raise KeyboardInterrupt
    return state, seen


def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    whole, _ = loop(None, None)
    for stop in (3, 7):
        with pytest.raises(KeyboardInterrupt):
            loop(tmp_path, stop)
    state, seen = loop(tmp_path, None)
    assert seen == [7, 8, 9]  # the steps that were saved are not repeated, the broken one is
    assert torch.equal(state.x, whole.x) and state.counter.total == 10
    assert torch.equal(torch.cat(state.pool), torch.cat(whole.pool))
    assert loop(tmp_path, None)[1] == []


def test_what_lies_in_order_on_the_cpu_is_not_copied(tmp_path: Path) -> None:
    """A pool of snapshots is large; what shares memory or lies otherwise is copied alone."""
    whole, turned = torch.arange(6.0).reshape(2, 3), torch.arange(6.0).reshape(3, 2).t()
    given = {"whole": whole, "again": whole, "part": whole[1:], "turned": turned}
    found = checkpoint._unshared(given)
    assert found["whole"].data_ptr() == whole.data_ptr()
    places = [part.untyped_storage().data_ptr() for part in found.values()]
    assert len(set(places)) == len(places)
    assert all(part.is_contiguous() and part.equal(given[key]) for key, part in found.items())
    save_file(found, tmp_path / "state.safetensors")


def test_within_the_interval_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path, 5, minutes=10)
    assert not list(tmp_path.iterdir())
    assert loop(tmp_path, None, minutes=10)[1] == list(range(10))


def test_a_broken_write_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path, 4)

    def torn(tensors: dict, path: Path, metadata: dict) -> None:
        path.write_bytes(b"half of it")
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("diffshortcut.artifacts.checkpoint.save_file", torn)
        with pytest.raises(OSError, match="no space"):
            loop(tmp_path, None)
    assert loop(tmp_path, None)[1] == [4, 5, 6, 7, 8, 9]


def test_what_a_kill_left_of_a_state_is_removed_by_the_next(tmp_path: Path) -> None:
    """Not what may still be written: it is young."""
    old, young = (tmp_path / f".a-loop--of-ten.safetensors-{name}" for name in ("old", "young"))
    for left in (old, young):
        left.write_bytes(b"half of it")
    os.utime(old, (0, 0))
    loop(tmp_path, None)
    assert young.exists() and not old.exists()


def test_an_owner_that_wakes_up_does_not_break_the_next_ones_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(tensors: dict, path: Path, metadata: dict) -> None:
        monkeypatch.undo()
        save_file(tensors, path, metadata=metadata)
        loop(tmp_path, None)  # another process, which was given up for dead, writes meanwhile

    monkeypatch.setattr("diffshortcut.artifacts.checkpoint.save_file", both)
    state, _ = loop(tmp_path, None)
    whole, _ = loop(None, None)
    assert torch.equal(state.x, whole.x) and loop(tmp_path, None)[1] == []


def test_an_optimizer_goes_on_as_if_nothing_had_happened() -> None:
    def trained(steps: int, kept: dict[str, Tensor] | None, start: Tensor) -> tuple[Tensor, dict]:
        weight = torch.nn.Parameter(start.clone())
        optimizer = torch.optim.AdamW([weight], lr=0.1)
        if kept is not None:
            load_optimizer(optimizer, kept)
        for _ in range(steps):
            optimizer.zero_grad()
            (weight - 3).square().sum().backward()
            optimizer.step()
        return weight.detach(), optimizer_tensors(optimizer)

    whole, _ = trained(7, None, torch.zeros(4))
    half, kept = trained(3, None, torch.zeros(4))
    assert torch.equal(trained(4, kept, half)[0], whole)
    assert not torch.equal(trained(4, None, half)[0], whole)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-2] + bytes([data[-2] ^ 1]) + data[-1:],
        lambda data: data.replace(b'"done":"5"', b'"done":"6"'),
        lambda data: b"",
    ],
    ids=["cut", "bit", "number of steps", "empty"],
)
def test_a_damaged_state_is_not_gone_on_from(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path, 5)
    [file] = tmp_path.iterdir()
    content = file.read_bytes()
    assert damage(content) != content
    file.write_bytes(damage(content))
    state, seen = loop(tmp_path, None)
    assert seen == list(range(10)) and state.counter.total == 10
