"""One forking process and one unbroken run for all tests here, and the count of faults survived."""

import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from broken_world import Forge, World

TRIED: Counter[str] = Counter()
SURVIVED: Counter[str] = Counter()


@pytest.fixture(scope="session")
def forge() -> Iterator[Forge]:
    """Where processes come from."""
    made = Forge()
    yield made
    made.close()


@pytest.fixture(scope="session")
def reference(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> World:
    """An unbroken run of the cell."""
    world = World(tmp_path_factory.mktemp("reference"), forge)
    assert world.run() == 0, world.said
    return world


@pytest.fixture
def world(forge: Forge, tmp_path: Path) -> World:
    """A cell of which nothing has been computed."""
    return World(tmp_path / "world", forge)


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Count a fault of a kind; all that a test has counted survive if it passes."""
    return lambda kind: request.node.user_properties.append((FAULT, kind))


FAULT = "fault"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what a test tried, wherever it ran: xdist sends its properties along."""
    if report.when == "call":
        mine = [str(kind) for name, kind in report.user_properties if name == FAULT]
        TRIED.update(mine)
        SURVIVED.update(mine if report.passed else ())


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the count, and keep it in the file that FAULTS_RECORD names."""
    if not TRIED:
        return
    record = {
        "tried": dict(sorted(TRIED.items())),
        "survived": dict(sorted(SURVIVED.items())),
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
    }
    total = f"faults tried: {TRIED.total()}, survived: {SURVIVED.total()}"
    terminalreporter.write_sep("=", total)
    for kind, count in sorted(TRIED.items()):
        terminalreporter.write_line(f"{kind}: {SURVIVED[kind]} of {count}")
    if place := os.environ.get("FAULTS_RECORD"):
        Path(place).write_text(json.dumps(record, indent=1) + "\n")
