"""The sanity flags that were raised, counted over people (diffshortcut/flags.py)."""

from collections.abc import Mapping

from diffshortcut.report.facts import Facts
from diffshortcut.report.sheet import Sheet


def sheet(facts: Facts) -> Sheet:
    """A line per arm and flag; no lines if nothing is suspicious."""
    header = ["arm", "flag", "people", "for example"]
    rows = [
        [arm, flag, f"{len(people)} of {facts.people(arm)}", _example(people)]
        for arm, raised in facts.flags.items()
        for flag, people in raised.items()
    ]
    return Sheet("Flags", header, rows)


def _example(people: Mapping[str, str]) -> str:
    person, detail = next(iter(people.items()))
    return f"{person}: {detail}"
