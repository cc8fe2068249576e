"""Files of rows in anybody's form, as rows of ours: JSON lines or CSV, long or wide. No torch.

Long: a row has a metric and its value. Wide: no row of the file has a metric; every column of
numbers that is no other field is one.
"""

import csv
import io
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffshortcut.errors import UserError, listed

FIELDS = ("arm", "person", "metric", "value", "prompt", "sample", "training_seed", "better")
TEXTS = ("arm", "person", "metric", "prompt", "better")
IDS = ("arm", "person")  # which JSON may hold as numbers, and are taken as text
COUNTS = ("sample", "training_seed")  # whole numbers in JSON, and so in CSV
Line = tuple[str, dict[str, Any]]  # where it stands, what it holds
Columns = Mapping[str, str]  # field -> what its column is called, or several with + between


def parsed(text: str, file: Path, columns: Columns) -> list[Line]:
    """The rows in a file's text, with ids as text and a metric each, else unchecked.

    CSV if the file is called so, else JSON lines. UserError for what is neither, and for a column
    that is not there.
    """
    if file.suffix.lower() == ".csv":
        lines = _typed(_renamed(_from_csv(text, str(file)), columns))
    else:
        lines = _renamed(_from_json(text, str(file)), columns)
    return _long([(where, _named(row)) for where, row in lines], columns)


def columns_of(words: Iterable[str]) -> dict[str, str]:
    """`person=subject,arm=attack+method` as field -> column; UserError for another field."""
    found = pairs_of(words, "--columns")
    for name in found:
        if name not in FIELDS:
            raise UserError(f"--columns: no field is called '{name}'.{listed(name, FIELDS)}")
    return found


def pairs_of(words: Iterable[str], option: str) -> dict[str, str]:
    """`a=b,c=d`, given once or often, as a dictionary; UserError for a word without two sides."""
    found = {}
    for word in (word for given in words for word in given.split(",")):
        name, _, value = word.partition("=")
        if not name or not value:
            raise UserError(f"{option}: '{word}' is not NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def _from_json(text: str, name: str) -> list[Line]:
    """The objects of JSON lines; UserError naming the wrong line."""
    lines = enumerate(text.split("\n"), 1)  # a text may hold other line ends
    places = [(f"{name}, line {n}", line) for n, line in lines if line.strip()]
    return [(where, _object(line, where)) for where, line in places]


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        line.encode()
        json.dumps(row, ensure_ascii=False).encode()  # no half of a character
    except (ValueError, RecursionError):
        raise UserError(f"{where}: not a JSON object") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: not a JSON object")
    return row


def _from_csv(text: str, name: str) -> list[Line]:
    """The lines of CSV under its header, without empty cells; UserError naming the wrong line."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    lines: list[Line] = []
    try:
        header = [column.strip() for column in next(reader, [])]
        again = [column for column in header if column and header.count(column) > 1]
        if again:
            raise UserError(f"{name}: several columns are called '{again[0]}'")
        for cells in filter(None, reader):
            where = f"{name}, line {reader.line_num}"
            if len(cells) != len(header):
                raise UserError(f"{where}: {len(cells)} cells under {len(header)} columns")
            filled = zip(header, cells, strict=True)
            lines.append((where, {key: cell for key, cell in filled if key and cell.strip()}))
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: {error}") from error
    return lines


def _renamed(lines: Sequence[Line], columns: Columns) -> list[Line]:
    """Every row under our names; what stands in a column of several goes by all its words.

    UserError for a column that no row has.
    """
    known = _names(lines)
    sources = {
        field: [column] if column in known else column.split("+")
        for field, column in columns.items()
    }
    for source in (each for of in sources.values() for each in of):
        if lines and source not in known:
            raise UserError(f"--columns: no column is called '{source}'.{listed(source, known)}")
    taken = {source for of in sources.values() for source in of}
    return [
        (where, {k: v for k, v in row.items() if k not in taken} | _fields(row, sources))
        for where, row in lines
    ]


def _fields(row: Mapping[str, Any], sources: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, of in sources.items():
        values = [row[source] for source in of if row.get(source) is not None]
        if values:
            found[field] = values[0] if len(of) == 1 else " ".join(map(str, values))
    return found


def _typed(lines: Sequence[Line]) -> list[Line]:
    """The texts of CSV as what they are: columns most of whose cells are numbers, as numbers.

    UserError for another cell of such a column, or one word would make its metric disappear.
    """
    counted = [name for name in _names(lines) if name not in (*TEXTS, *COUNTS)]
    numbers = {n for n in counted if n == "value" or _mostly_numbers([row for _, row in lines], n)}
    return [
        (where, {name: _cell(name, cell, where, numbers) for name, cell in row.items()})
        for where, row in lines
    ]


def _mostly_numbers(rows: Iterable[Mapping[str, str]], name: str) -> bool:
    cells = [row[name] for row in rows if name in row]
    return 2 * sum(_number(cell) is not None for cell in cells) > len(cells)


def _cell(name: str, cell: str, where: str, numbers: Container[str]) -> int | float | str:
    if name in COUNTS and cell.isdecimal():
        return int(cell)
    if name not in numbers:
        return cell
    number = _number(cell)
    if number is None:
        raise UserError(f"{where}: {name} cannot be '{cell}', which is no number")
    return number


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """The row with ids that are numbers as text."""
    return row | {key: str(row[key]) for key in IDS if _is_number(row.get(key))}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _long(lines: Sequence[Line], columns: Columns) -> list[Line]:
    """The lines, or of a wide file one for each number of a line; a `value` is its only one."""
    if any("metric" in row for _, row in lines):
        return list(lines)
    if "value" in columns:
        return [(where, {"metric": columns["value"], **row}) for where, row in lines]
    metrics = [name for name in _names(lines) if name not in FIELDS or name == "value"]
    return [each for line in lines for each in _each(*line, metrics)]


def _each(where: str, row: dict[str, Any], metrics: Sequence[str]) -> list[Line]:
    """A row per number; the row itself, which lacks a metric, if it has none."""
    found = [name for name in metrics if _is_number(row.get(name))]
    rest = {key: value for key, value in row.items() if key not in found}
    return [(where, {**rest, "metric": m, "value": row[m]}) for m in found] or [(where, row)]


def _names(lines: Iterable[Line]) -> list[str]:
    """All columns, in the order in which they appear."""
    return list(dict.fromkeys(name for _, row in lines for name in row))
