"""Errors that are the user's to mend."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(Exception):
    """A one-line message for the user; no traceback is shown."""


@contextmanager
def exit_on_mistake(
    kinds: tuple[type[Exception], ...] = (UserError,),
    line: Callable[[Exception], str] = str,
    interrupted: str = "interrupted",
) -> Iterator[None]:
    """End the program with one line for a mistake of the user's, or when it is interrupted.

    Mistakes are errors of `kinds`; `line` and `interrupted` are what is said.
    """
    try:
        yield
    except kinds as error:
        sys.exit(f"error: {line(error)}")
    except KeyboardInterrupt:
        sys.exit(interrupted)


def suggest(word: str, choices: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the closest of `choices`, or nothing."""
    close = get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def listed(word: str, choices: Iterable[str]) -> str:
    """What is said after a word that is none of `choices`: the closest of them, and all of them."""
    known = list(choices)
    return f"{suggest(word, known)} There are: {', '.join(known)}"
