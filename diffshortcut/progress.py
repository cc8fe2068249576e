"""Progress bars with time left, and log lines that do not disturb them."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

log = logging.getLogger(__name__)
T = TypeVar("T")
INTERVAL = 60.0  # seconds between two lines when there is no terminal
QUIET = {  # the libraries' own bars and notes would hide ours
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def track(iterable: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield from `iterable` under a progress bar; calls may be nested.

    Without a terminal it is silent but for a log line a minute.
    """
    total = total if total is not None or not isinstance(iterable, Sized) else len(iterable)
    if console().is_terminal:
        yield from _bar(iterable, what, total)
    else:
        yield from _lines(iterable, what, total)


def quiet_libraries() -> None:
    """Switch their bars off, unless the environment says otherwise; before they are imported."""
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of kernels nobody uses


@cache
def console() -> "Console":
    """Where bars and log lines go: standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def output(width: int = 120) -> "Console":
    """Where results go: standard output, of `width` columns when it is no terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width)


class Lines(logging.Handler):
    """Log records as plain lines above the bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        console().print(self.format(record), markup=False)


@cache
def _progress() -> "Progress":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, *times, console=console(), transient=True)


def _bar(iterable: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    progress = _progress()
    progress.start()
    bar = progress.add_task(what, total=total)
    try:
        for item in iterable:
            yield item
            progress.advance(bar)
    finally:
        progress.remove_task(bar)
        if not progress.tasks:
            progress.stop()


def _lines(iterable: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    start = last = time.monotonic()
    for done, item in enumerate(iterable):
        now = time.monotonic()
        if now - last >= INTERVAL:
            last = now
            log.info("%s: %s", what, _state(done, total, now - start))
        yield item


def _state(done: int, total: int | None, seconds: float) -> str:
    if not total or not done:
        return f"{done} done in {seconds:.0f} s"
    left = seconds / done * (total - done)
    return f"{done} of {total} in {seconds:.0f} s, about {left:.0f} s left"
