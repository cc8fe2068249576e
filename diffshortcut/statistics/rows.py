"""Files of rows: reading one, and joining several into one comparison. No torch.

A row is an object with arm, person, metric and value; prompt, sample, training_seed and better may
be missing. How a file holds them: row_files.py.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffshortcut.errors import UserError, listed
from diffshortcut.result_files import ROWS
from diffshortcut.statistics.comparison import check
from diffshortcut.statistics.row_files import Columns, parsed

Row = Mapping[str, Any]
NEEDED = ("arm", "person", "metric", "value")
TEXTS = ("arm", "person", "metric")
PLAIN = ("prompt", "sample", "training_seed")
SIDES = ("higher", "lower")
BETTER = (*SIDES, None)
COSTS = ("seconds.", "peak_memory")  # metrics that differ from run to run
UNIT = ("person", "training_seed", "metric", "prompt", "sample")


@dataclass(frozen=True)
class Part:
    """The rows of one result; `content` says of each arm, where it is known, what the rows are of.

    Arms of two parts are the same if their content is equal and no row of one contradicts a row of
    the other; of costs, which differ wherever it runs, the first are kept. What is not known of is
    taken at its name.
    """

    name: str
    rows: Sequence[Row]
    content: Mapping[str, Hashable] = field(default_factory=dict)


def read(place: Path, columns: Columns | None = None) -> list[dict[str, Any]]:
    """The rows of a file, or of `rows.jsonl` in a folder; UserError naming the wrong line.

    `columns` says what the fields of a row are called in the file.
    """
    file = place / ROWS if place.is_dir() else place
    try:
        text = file.read_bytes().decode()  # as it is: CSV has line ends within a cell
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise UserError(f"{file}: {reason}; results of a run hold {ROWS}") from error
    rows = [_checked(row, where) for where, row in parsed(text, file, columns or {})]
    if not rows:
        raise UserError(f"{file} holds no rows")
    _check_once(rows, file)
    return rows


def _check_once(rows: Iterable[Row], file: Path) -> None:
    """UserError for a sample that has two values, which would count twice."""
    seen: dict[tuple, Any] = {}
    for row in rows:
        unit = (row["arm"], *(row.get(key) for key in UNIT))
        if row.get("sample") is not None and seen.setdefault(unit, row["value"]) != row["value"]:
            which = f"{row['metric']} of {row['arm']}, {row['person']}, sample {row['sample']}"
            raise UserError(f"{file}: {which} has two values, {seen[unit]} and {row['value']}")


def _checked(row: dict[str, Any], where: str) -> dict[str, Any]:
    absent = [key for key in NEEDED if key not in row]
    if absent:
        others = [key for key in row if key not in NEEDED]
        hint = f".{listed(absent[0], others)}; --columns says which is which" if others else ""
        raise UserError(f"{where}: no {', '.join(absent)}{hint}")
    wrong = [key for key in TEXTS if not isinstance(row[key], str)]
    wrong += [k for k in PLAIN if not isinstance(row.get(k), str | int | float | None)]
    if wrong:
        raise UserError(f"{where}: {wrong[0]} cannot be {row[wrong[0]]!r}")
    if row.get("better") not in BETTER:
        raise UserError(f"{where}: better is higher, lower or null, not {row['better']!r}")
    try:
        check([row])
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    return row


def join(parts: Iterable[Part]) -> tuple[list[dict[str, Any]], dict[tuple[str, str], str]]:
    """The rows of all parts, each once, and the name that each (part, arm) has among them.

    Equal arms become one, with the people of all and the name of the first. Arms that differ and
    are called alike get the name of their part behind their own. UserError if rows say of a metric
    that higher is better and that lower is.
    """
    kinds: list[_Kind] = []
    for part in parts:
        arms = _by_arm(part.rows)
        taken: list[_Kind] = []  # arms of one part are never joined: it tells them apart itself
        for arm, rows in arms.items():
            kind = _equal(kinds, part, arm, arms)
            if kind is None or kind in taken:
                kinds.append(kind := _Kind(part.content.get(arm)))
            taken.append(kind)
            kind.rows |= {unit: row for unit, row in rows.items() if unit not in kind.rows}
            kind.arms.append((part.name, arm))
    joined: list[dict[str, Any]] = []
    names: dict[tuple[str, str], str] = {}
    for arm, alike in _by_first_name(kinds).items():
        for kind in alike:
            name = arm if len(alike) == 1 else f"{arm} ({kind.arms[0][0]})"
            names |= dict.fromkeys(kind.arms, name)
            joined += [{**row, "arm": name} for row in kind.rows.values()]
    _check_directions(joined)
    return joined, names


def directed(rows: Sequence[Row], better: Mapping[str, str]) -> list[Row]:
    """The rows, with what is `better` (metric -> higher or lower) where they leave it out.

    UserError for an unknown metric or word, and where rows say the contrary.
    """
    known = list(dict.fromkeys(row["metric"] for row in rows))
    for metric, word in better.items():
        if metric not in known:
            raise UserError(f"--better: no metric is called '{metric}'.{listed(metric, known)}")
        if word not in SIDES:
            raise UserError(f"--better {metric}: '{word}' is no side.{listed(word, SIDES)}")
    said = [
        {**row, "better": better[row["metric"]]} if _is_open(row, better) else row for row in rows
    ]
    _check_directions([*said, *({"metric": m, "better": word} for m, word in better.items())])
    return said


def _is_open(row: Row, better: Mapping[str, str]) -> bool:
    return row["metric"] in better and row.get("better") is None


def _equal(
    kinds: Sequence["_Kind"], part: Part, arm: str, arms: Mapping[str, Mapping[tuple, Row]]
) -> "_Kind | None":
    """The kind that one of a part's arms is of: one of its name, else, if its content is known,
    one whose names the part has no arm of."""
    content = part.content.get(arm)
    named = [kind for kind in kinds if arm in kind.names]
    strangers = [kind for kind in kinds if not kind.names & arms.keys()]
    for kind in [*named, *(strangers if content is not None else ())]:
        if kind.content == content and kind.takes(arms[arm]):
            return kind
    return None


def _by_first_name(kinds: Iterable["_Kind"]) -> dict[str, list["_Kind"]]:
    found: dict[str, list[_Kind]] = {}
    for kind in kinds:
        found.setdefault(kind.arms[0][1], []).append(kind)
    return found


def _check_directions(rows: Iterable[Row]) -> None:
    said: dict[str, str] = {}
    for row in rows:
        better = row.get("better")
        if better is not None and said.setdefault(row["metric"], better) != better:
            raise UserError(f"{row['metric']}: some rows say that higher is better, others lower")


@dataclass(eq=False)
class _Kind:
    """Arms that are one: their rows by unit, and which they are, as (part, arm)."""

    content: Hashable
    rows: dict[tuple, Row] = field(default_factory=dict)
    arms: list[tuple[str, str]] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        return {arm for _, arm in self.arms}

    def takes(self, rows: Mapping[tuple, Row]) -> bool:
        shared = [unit for unit in self.rows if unit in rows]
        measured = (unit for unit in shared if not rows[unit]["metric"].startswith(COSTS))
        return all(self.rows[unit]["value"] == rows[unit]["value"] for unit in measured)


def _by_arm(rows: Iterable[Row]) -> dict[str, dict[tuple, Row]]:
    """Rows of one unit are told apart by their order: a file may leave out `sample`."""
    found: dict[str, dict[tuple, Row]] = {}
    seen: Counter[tuple] = Counter()
    for row in rows:
        unit = (row["arm"], *(row.get(key) for key in UNIT))
        seen[unit] += 1
        found.setdefault(row["arm"], {})[*unit[1:], seen[unit]] = row
    return found


def named(places: Sequence[Path]) -> list[str]:
    """A short name of each place that no other has: the folder's, else the whole path."""
    short = [(place if place.is_dir() else place.parent).resolve().name for place in places]
    short = [name or str(place) for name, place in zip(short, places, strict=True)]
    return [
        name if short.count(name) == 1 else str(place)
        for name, place in zip(short, places, strict=True)
    ]
