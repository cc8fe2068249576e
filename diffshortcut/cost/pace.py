"""How fast this machine computes, roughly: what the time of stages that never ran is told from."""

import time
from collections.abc import Mapping
from typing import Any

import torch

from diffshortcut.errors import UserError
from diffshortcut.graph.device import chosen

# Of what a product of large matrices reaches. A DreamBooth step on the mini model: 8.2 GFLOP in
# 0.175 s of a core that multiplies matrices at 94 GFLOP/s. Many small operations reach less.
EFFICIENCY = 0.5
LEAST = 0.02  # seconds of a product that is timed: launching it must not count
LARGEST = 16384  # rows of a matrix: three of them are 3 GB


def pace(runtime: Mapping[str, Any]) -> float | None:
    """Operations per second that a stage may reach; None if its device is not on this machine.

    Measured on the spot in well under a second, in 32 bits, with as many threads as stages have.
    """
    try:
        where = chosen(runtime["device"])
    except UserError:
        return None
    threads = torch.get_num_threads()
    torch.set_num_threads(runtime["threads"])
    try:
        return EFFICIENCY * _products(where)
    finally:
        torch.set_num_threads(threads)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # a worker needs what the matrices took


def _products(where: str) -> float:
    """Operations per second of matrix products, the fastest of three."""
    side, seconds = 256, 0.0
    while seconds < LEAST and side < LARGEST:
        side *= 2
        matrix = torch.ones(side, side, device=where)
        seconds = min(_seconds(matrix) for _ in range(3))
    return 2 * side**3 / seconds


def _seconds(matrix: torch.Tensor) -> float:
    begun = time.perf_counter()
    (matrix @ matrix)[0, 0].item()  # waits for a GPU too
    return time.perf_counter() - begun
