"""What the paper reports of an experiment's arms, beside what was measured here."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from diffshortcut.report.arm import Arm
from diffshortcut.report.facts import Facts, Published
from diffshortcut.report.sheet import Sheet, number, titled

TABLES = Path(__file__).with_name("published.yaml")
ANY = "any"  # attack
TITLE = "Here, and in the paper (Stable Diffusion 2.1, other people: compare orders, not levels)"


def of(arms: Sequence[Arm]) -> Published | None:
    """Those of the experiment and attack of which the last arm was composed, if any.

    None of another radius than the paper's.
    """
    choices, radius = arms[-1].choices, arms[-1].config["attack"].get("radius")
    table = tables().get(choices.get("experiment"), {})
    if radius != table.get("radius", radius):
        return None
    found = table.get(choices.get("attack"), table.get(ANY))
    return Published(table["metrics"], found) if found else None


@cache
def tables() -> dict[Any, Any]:
    """Experiment -> attack -> arm -> figures, the `metrics` that these are of, and the `radius`."""
    return yaml.safe_load(TABLES.read_text())


def sheet(facts: Facts) -> Sheet:
    """A line per arm that the paper has; without rows where it has none."""
    published = facts.published
    if published is None:
        return Sheet(TITLE, [], [])
    measured = [metric for metric in published.metrics if metric in facts.metrics]
    header = ["arm"]
    for metric in published.metrics:
        title = titled(metric)
        header += [title, "paper"] if metric in measured else [f"{title}, paper"]
    rows = []
    for arm in facts.arms:
        if arm in published.arms:
            row = [arm]
            for metric, value in zip(published.metrics, published.arms[arm], strict=True):
                here = [number(facts.mean(arm, metric))] if metric in measured else []
                row += [*here, f"{value:g}"]
            rows.append(row)
    return Sheet(TITLE, header, rows)
