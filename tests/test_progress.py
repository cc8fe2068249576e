"""Progress: bars on a terminal, a line a minute without."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest
from rich.console import Console

from diffshortcut import progress


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80)
    monkeypatch.setattr(progress, "console", lambda: console)
    progress._progress.cache_clear()
    yield text
    progress._progress.cache_clear()


def test_bars_nest_and_show_the_time_left(screen: io.StringIO) -> None:
    for _ in progress.track([1, 2], "stages"):
        assert list(progress.track(iter("abc"), "steps", total=3)) == ["a", "b", "c"]
    assert "stages" in screen.getvalue() and "steps" in screen.getvalue()
    assert "left" in screen.getvalue()
    assert not progress._progress().tasks


def test_a_bar_ends_with_its_error(screen: io.StringIO) -> None:
    with pytest.raises(ZeroDivisionError):
        for item in progress.track([0], "stages"):
            1 / item
    list(progress.track([1], "again"))
    assert not progress._progress().tasks


def test_without_a_terminal_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "console", lambda: Console(file=io.StringIO()))
    clock = iter([0.0, 1.0, 61.0, 62.0, 130.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO):
        assert list(progress.track([5, 6, 7, 8], "steps")) == [5, 6, 7, 8]
    assert caplog.messages == [
        "steps: 1 of 4 in 61 s, about 183 s left",
        "steps: 3 of 4 in 130 s, about 43 s left",
    ]


@pytest.mark.parametrize(("terminal", "columns"), [(True, 77), (False, 130)])
def test_results_are_as_wide_as_the_terminal_if_there_is_one(terminal, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", "77")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert progress.output(130).width == columns
