"""Results of runs, read from their folders and joined for a report. No torch."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffshortcut.comparison import Row
from diffshortcut.errors import UserError
from diffshortcut.report.labels import Described, Place, places
from diffshortcut.rows import Part, join, named, read

RECORD, COMPARISON = "record.json", "comparison.json"
Stages = Mapping[str, Mapping[str, Any]]  # name of the stage -> its provenance


@dataclass(frozen=True)
class Entry:
    """One arm of the joined results, with all that its folders recorded of it.

    `flags`: flag -> person -> what was seen. `stages`: person -> stage -> provenance.
    `comparisons` are as in comparison.json, and so are `stars`, the metrics of its won claims.
    """

    name: str
    place: Place
    folders: list[Path] = field(default_factory=list)
    config: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    flags: dict[str, dict[str, str]] = field(default_factory=dict)
    stages: dict[str, Stages] = field(default_factory=dict)
    comparisons: list[Mapping[str, Any]] = field(default_factory=list)
    stars: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Results:
    """What the folders say together.

    `verdicts` are the declared claims of each folder by its name; `remarks` say what is missing.
    """

    rows: Sequence[Row]
    entries: list[Entry]
    verdicts: dict[str, list[Mapping[str, Any]]]
    commands: dict[str, str]
    remarks: list[str]


def load(folders: Sequence[Path]) -> Results:
    """Read and join; UserError for a folder that holds no rows."""
    titles = named(folders)
    records = [_json(folder / RECORD) for folder in folders]
    comparisons = [_json(folder / COMPARISON) for folder in folders]
    described = [_described(record) for record in records]
    parts = [
        Part(title, read(folder), {arm.name: arm.content() for arm in arms.values()})
        for title, folder, arms in zip(titles, folders, described, strict=True)
    ]
    rows, names = join(parts)
    entries = _entries(rows, names, dict(zip(titles, described, strict=True)))
    for title, folder, record, found in zip(titles, folders, records, comparisons, strict=True):
        for (part, arm), name in names.items():
            if part == title:
                _add(entries[name], folder, arm, record, found)
    return Results(
        rows=rows,
        entries=list(entries.values()),
        verdicts={
            t: found.get("verdicts", []) for t, found in zip(titles, comparisons, strict=True)
        },
        commands={t: _command(record) for t, record in zip(titles, records, strict=True) if record},
        remarks=list(_remarks(titles, records, comparisons)),
    )


def _json(file: Path) -> dict[str, Any]:
    """The file's object, or nothing if it is not there; UserError if it cannot be read."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: {error}") from error


def _described(record: Mapping[str, Any]) -> dict[str, Described]:
    choices = record.get("choices", {})
    return {
        name: Described(name, name, config, choices.get(name, {}))
        for name, config in record.get("arms", {}).items()
    }


def _entries(
    rows: Sequence[Row],
    names: Mapping[tuple[str, str], str],
    described: Mapping[str, Mapping[str, Described]],
) -> dict[str, Entry]:
    """In the rows' order, each arm with the config of the first folder that has it."""
    known: dict[str, Described] = {}
    for (part, arm), name in names.items():
        found = described[part].get(arm, Described(arm, arm))
        known.setdefault(name, replace(found, name=name))
    arms = [known[name] for name in dict.fromkeys(row["arm"] for row in rows)]
    at = places(arms)
    return {
        arm.name: Entry(arm.name, at[arm.name], config=arm.config, choices=arm.choices)
        for arm in arms
    }


def _add(
    entry: Entry, folder: Path, arm: str, record: Mapping[str, Any], compared: Mapping[str, Any]
) -> None:
    entry.folders.append(folder)
    entry.stages.update(record.get("stages", {}).get(arm, {}))
    for flag, people in compared.get("flags", {}).get(arm, {}).items():
        entry.flags.setdefault(flag, {}).update(people)
    entry.comparisons.extend(c for c in compared.get("comparisons", []) if c["arm"] == arm)
    won = (v["claim"] for v in compared.get("verdicts", []) if v["star"])
    entry.stars.update(claim["metric"] for claim in won if claim["arm"] == arm)


def _command(record: Mapping[str, Any]) -> str:
    return " ".join(["python -m diffshortcut.run", *record.get("overrides", [])])


def _remarks(
    titles: Sequence[str], records: Sequence[Any], compared: Sequence[Any]
) -> Iterator[str]:
    """What is not there, and what is not meant seriously, each in a sentence."""
    without = [title for title, record in zip(titles, records, strict=True) if not record]
    untested = [title for title, found in zip(titles, compared, strict=True) if not found]
    debugged = {
        title: choices["debug"]
        for title, record in zip(titles, records, strict=True)
        for choices in record.get("choices", {}).values()
        if "debug" in choices
    }
    if without:
        yield f"No {RECORD}, so incomplete and made nobody knows how: {', '.join(without)}."
    if untested:
        yield f"No {COMPARISON}, so without flags, tests and stars: {', '.join(untested)}."
    for debug in dict.fromkeys(debugged.values()):
        those = [title for title, preset in debugged.items() if preset == debug]
        yield f"Made with debug={debug}, numbers that mean nothing: {', '.join(those)}."
