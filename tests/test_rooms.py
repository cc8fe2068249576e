"""The table of rooms in docs/architecture.md: every module is in it, and imports what it allows."""

import re
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

from diffshortcut.artifacts import sources

ROOT = Path(__file__).parent.parent
PACKAGE = "diffshortcut"
Row = tuple[set[str], str]  # its rooms as dotted names, and the column of what they may import


def table() -> list[Row]:
    """The rows from the top down; the last is the ground floor."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    cells = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    return [(rooms(first), allowed) for first, _, allowed in cells]


def rooms(cell: str) -> set[str]:
    """`models/` and `metrics/rows.py` as dotted names."""
    named = re.findall(r"`([\w/]+)(?:/|\.py)`", cell)
    return {".".join([PACKAGE, *name.split("/")]) for name in named}


def modules() -> set[str]:
    """All of the package but Hydra's plug-in, which is found by another name, and entries."""
    files = (ROOT / PACKAGE).rglob("*.py")
    found = {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files}
    names = {name.removesuffix(".__init__") for name in found if "hydra_plugins" not in name}
    return {name for name in names if name != PACKAGE and not name.endswith("__main__")}


def within(module: str, places: Iterable[str]) -> bool:
    return any(f"{module}.".startswith(f"{place}.") for place in places)


def may_import(rows: list[Row], number: int) -> set[str]:
    own, said = rows[number]
    below = set().union(*(names for names, _ in rows[number + 1 :]))
    ground = rows[-1][0] if "ground floor" in said else set()
    return own | rooms(said) | ground | (below if "everything below" in said else set())


def test_every_module_has_one_room_and_every_room_is_there() -> None:
    rows = table()
    for module in modules():
        assert sum(within(module, names) for names, _ in rows) == 1, module
    named = set().union(*(names | rooms(said) for names, said in rows))
    assert {sources.module_file(name) and sources.module_file(name)[0] for name in named} == named


def test_no_row_is_allowed_what_stands_above_it() -> None:
    rows = table()
    for number in range(len(rows)):
        above = set().union(*(names for names, _ in rows[:number]))
        assert not [name for name in may_import(rows, number) if within(name, above)]


def test_a_room_imports_only_what_the_table_allows() -> None:
    rows = table()
    wrong = [
        f"{module} imports {name}"
        for number, (names, _) in enumerate(rows)
        for module in modules()
        if within(module, names)
        for name in sources.imports(module)
        if name != PACKAGE and not within(name, may_import(rows, number))
    ]
    assert not wrong


def test_no_module_imports_itself_through_others() -> None:
    """Within functions, and for types alone, neither."""
    imported = {module: set(sources.imports(module)) - {PACKAGE} for module in modules()}
    TopologicalSorter(imported).prepare()  # CycleError says which
