"""Results of runs, read from their folders and joined for a report. No torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffshortcut.config import usage
from diffshortcut.disk import read_object
from diffshortcut.errors import UserError
from diffshortcut.report.claims import Made, declared, judged_together
from diffshortcut.report.labels import Described, Place, places, together
from diffshortcut.report.worst import Worst
from diffshortcut.result_files import COMPARISON, RECORD
from diffshortcut.statistics.comparison import Row
from diffshortcut.statistics.rows import Part, join, named, read

Stages = Mapping[str, Mapping[str, Any]]  # name of the stage -> its provenance


@dataclass(frozen=True)
class Entry:
    """One arm of the joined results, with all that its folders recorded of it.

    `flags`: flag -> person -> what was seen. `stages`: person -> stage -> provenance.
    `comparisons` are as in comparison.json. `stars` are the metrics of its won claims, of an arm
    whose rows all come from the one folder that made them.
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

    `verdicts` are the declared claims of each folder by its name, `adjusted` over those of all
    folders, `family` in number with those of jobs that are not here, and with the star that this
    leaves; `remarks` say what is missing.
    """

    rows: Sequence[Row]
    entries: list[Entry]
    verdicts: dict[str, list[Mapping[str, Any]]]
    commands: dict[str, str]
    remarks: list[str]
    family: int = 0


def load(folders: Sequence[Path]) -> Results:
    """Read and join; UserError for a folder that holds no rows, or a record of another form.

    A folder that is named twice counts once.
    """
    for folder in folders:
        if folder.is_file():
            raise UserError(f"{folder} is a file: write the folder of the results, {folder.parent}")
    folders = list({folder.resolve(): folder for folder in reversed(folders)}.values())[::-1]
    try:
        return _joined(folders)
    except (AttributeError, KeyError, TypeError) as error:
        names = ", ".join(map(str, folders))
        raise UserError(
            f"{names}: {RECORD} or {COMPARISON} is not as this version writes it"
            f" ({type(error).__name__}: {error}): call the command of the results again"
        ) from error


def _joined(folders: Sequence[Path]) -> Results:
    titles = named(folders)
    records = [_json(folder / RECORD) for folder in folders]
    comparisons = [_json(folder / COMPARISON) for folder in folders]
    known = [_described(record, found) for record, found in zip(records, comparisons, strict=True)]
    made = list(map(Made, titles, records, comparisons, known))
    family = declared(made)
    verdicts = judged_together(made, family)
    parts = [
        as_part(title, _rows(folder, found), arms.values())
        for title, folder, arms, found in zip(titles, folders, known, comparisons, strict=True)
    ]
    rows, names = join(parts)
    entries = _entries(rows, names, dict(zip(titles, known, strict=True)))
    for title, folder, record, found in zip(titles, folders, records, comparisons, strict=True):
        for (part, arm), name in names.items():
            if part == title:
                _add(entries[name], folder, arm, record, found)
    for title, judged in zip(titles, verdicts, strict=True):
        for verdict in judged:
            _give_star(entries.get(names.get((title, verdict["claim"]["arm"]), "")), verdict)
    return Results(
        rows=rows,
        entries=list(entries.values()),
        verdicts=dict(zip(titles, verdicts, strict=True)),
        commands={t: _command(record) for t, record in zip(titles, records, strict=True) if record},
        remarks=[*_remarks(titles, records, comparisons), *_renamed(names)],
        family=family,
    )


def as_part(title: str, rows: Sequence[Row], arms: Iterable[Described]) -> Part:
    """What a folder holds; an arm of which nothing else is known is this folder's own."""
    content = {arm.name: arm.content() for arm in arms}
    return Part(title, rows, {row["arm"]: content.get(row["arm"]) or title for row in rows})


def described(folder: Path) -> dict[str, Described]:
    """The arms of a folder by name, as its record says; none without one."""
    return _described(_json(folder / RECORD), _json(folder / COMPARISON))


def _json(file: Path) -> dict[str, Any]:
    """The file's object, or nothing if it is not there; UserError if it cannot be read."""
    try:
        return read_object(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: {error}") from error


def _described(record: Mapping[str, Any], compared: Mapping[str, Any]) -> dict[str, Described]:
    """The folder's arms by name, the worst-of ones too."""
    choices = record.get("choices", {})
    arms = {
        name: Described(name, name, config, choices.get(name, {}))
        for name, config in record.get("arms", {}).items()
    }
    for name, worst in _worst(compared).items():
        members = [arms.get(arm, Described(arm, arm)) for arm in worst.arms]
        arms[name] = together(name, members)
    return arms


def _worst(compared: Mapping[str, Any]) -> dict[str, Worst]:
    return {
        name: Worst(tuple(told["arms"]), told["chosen"])
        for name, told in compared.get("worst", {}).items()
    }


def _rows(folder: Path, compared: Mapping[str, Any]) -> list[Row]:
    """The folder's rows, and the copies that its worst-of arms are made of."""
    rows: list[Row] = list(read(folder))
    return rows + [row for n, worst in _worst(compared).items() for row in worst.rows(n, rows)]


def _give_star(entry: Entry | None, verdict: Mapping[str, Any]) -> None:
    """The star of a won claim, unless the arm has rows that the claim was not about."""
    if entry is not None and len(entry.folders) == 1 and verdict["star"]:
        entry.stars.add(verdict["claim"]["metric"])


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


def _command(record: Mapping[str, Any]) -> str:
    return usage.command(record.get("overrides", []))


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


def _renamed(names: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Which arms stand here under the name of an equal one, in a sentence."""
    others = [
        f"{arm} of {title} is {name}"
        for (title, arm), name in names.items()
        if name != arm and not name.startswith(f"{arm} (")
    ]
    if others:
        yield f"Equal arms have one name here: {', '.join(others)}."
