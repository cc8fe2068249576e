"""Quantities as people read them."""

import pytest

from diffshortcut import units


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 kB"), (861_000, "861 kB"), (10**6, "1.0 MB"), (5_210_000_000, "5.2 GB")],
)
def test_sizes(count: int, said: str) -> None:
    assert units.size(count) == said


@pytest.mark.parametrize(("seconds", "said"), [(40, "40 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations(seconds: float, said: str) -> None:
    assert units.duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0"), (3, "< 1 MFLOP"), (3e9, "3 GFLOP"), (2.51e12, "2.51 TFLOP")]
)
def test_operations(count: float, said: str) -> None:
    assert units.operations(count) == said
