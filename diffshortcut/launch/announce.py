"""How long the work will take, said before it begins; more than an hour is asked for."""

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from diffshortcut.artifacts.store import Store
from diffshortcut.cost import forecast
from diffshortcut.errors import UserError
from diffshortcut.graph.cells import Task
from diffshortcut.units import duration

log = logging.getLogger(__name__)
LONG = 3600  # seconds of work that are not begun without a question
MANY = 100  # stages: more than a cell or two have


class NotBegunError(UserError):
    """Whoever was asked has said no."""


def announce(
    todo: Sequence[Task],
    store: Store,
    runtime: Mapping[str, Any],
    *,
    ask: bool,
    only_long: bool = False,
    jobs: int = 1,
) -> None:
    """Say how long it will take, `jobs` times; if it is long, ask whoever sits at a terminal.

    What has never run here is counted, which takes seconds and rehearses the stages in this
    process: of a short job (`only_long`) for somebody at a terminal alone.
    """
    found, asks = forecast.lines(todo, store, runtime), ask and sys.stdin.isatty()
    if asks or not only_long or len(todo) > MANY:
        found = forecast.roughly(found, runtime)
    seconds = jobs * sum(line.seconds for line in found)
    long = seconds > LONG
    if long or not only_long:
        log.info(forecast.summary(found))
    for line in forecast.crowded(found, store.root):
        log.warning(line)
    if long and jobs > 1:
        log.info("it is one of %d jobs: if all are like it, %s", jobs, duration(seconds))
    if long and asks and not _agreed():
        raise NotBegunError("not begun: python -m diffshortcut.plan says what there is to do")


def _agreed() -> bool:
    """What whoever sits at the terminal says; ^D is a no."""
    try:
        return input("Begin? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print(file=sys.stderr)  # the question's line has not ended
        return False
