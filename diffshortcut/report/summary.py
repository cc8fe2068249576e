"""The record of a comparison in a folder: rows.jsonl, table.md, comparison.json, gallery.png."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from diffshortcut.comparison import Claim, Row, check, with_overall
from diffshortcut.report import gallery as pictures
from diffshortcut.report import published, threat, worst
from diffshortcut.report.facts import Baselines, Facts, Flags
from diffshortcut.report.notes import notes
from diffshortcut.report.table import markdown, sheets


class Arm(Protocol):
    """A named cell: its resolved config says which arms are its baselines."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> Mapping[str, Any]: ...


def write(
    *,
    arms: Sequence[Arm],
    rows: Sequence[Row],
    folder: Path,
    gallery: pictures.Pictures,
    compare: Mapping[str, Any],
    flags: Flags | None = None,
    changes: Mapping[str, Mapping[str, float]] | None = None,
) -> Facts:
    """Write the four files and return what they say; `show` prints it.

    `rows` carry arm and person; `overall` is added to those that have IMS and Q. `gallery` maps an
    arm to its columns' files. `compare.clean` names the clean arm, `compare.claims` lists the
    declared tests as {metric, arm, rivals}, `compare.family` counts those of all jobs of a sweep,
    `compare.pairs` are arms to be compared besides,
    `compare.worst` arms to be put together from others: their rows are copies, which rows.jsonl
    leaves out. `flags` are what made cells suspicious, `changes` the levels by which protections
    moved a person's pictures, by arm. ValueError if a value is not finite: nothing is written then.
    """
    check(rows)
    complete = with_overall(rows)
    facts = _facts(arms, complete, compare, flags=flags or {}, changes=changes or {})
    record = json.dumps(facts.record(), indent=1, allow_nan=False)
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in complete)
    (folder / "rows.jsonl").write_text(lines)
    (folder / "table.md").write_text(markdown(sheets(facts), notes(facts)))
    (folder / "comparison.json").write_text(record + "\n")
    pictures.draw(gallery).save(folder / "gallery.png")
    return facts


def _facts(
    arms: Sequence[Arm], rows: Sequence[Row], compare: Mapping[str, Any], **others: Any
) -> Facts:
    """Of the arms and of the worst-of arms that are put together from them."""
    put_together = worst.choose(rows, compare.get("worst", {}))
    copies = [row for name, found in put_together.items() for row in found.rows(name, rows)]
    knows = {arm.name: threat.known(arm.config) for arm in arms}
    for name, found in put_together.items():
        knows[name] = threat.jointly(knows[arm] for arm in found.arms)
    return Facts(
        arms=[*(arm.name for arm in arms), *put_together],
        rows=[*rows, *copies],
        baselines=baselines(arms, compare.get("clean", "clean")),
        claims=[
            Claim(c["metric"], c["arm"], tuple(c["rivals"])) for c in compare.get("claims", ())
        ],
        family=compare.get("family"),
        pairs=[(arm, against) for arm, against in compare.get("pairs", ())],
        knows=knows,
        worst=put_together,
        published=published.of(arms),
        **others,
    )


def baselines(arms: Sequence[Arm], clean: str) -> Baselines:
    """The clean arm by name; the protected arm of each is the undefended one of equal attack.

    Undefended: nothing purified, trainer and sampler as in the clean arm.
    """
    reference = next((arm for arm in arms if arm.name == clean), None)
    if reference is None:
        return Baselines(clean=None, protected={})
    plain = [arm for arm in arms if _defense(arm) == _defense(reference)]
    protected = {
        arm.name: other.name
        for arm in arms
        for other in plain
        if other.config["attack"] == arm.config["attack"]
    }
    return Baselines(clean=clean, protected=protected)


def _defense(arm: Arm) -> list[Any]:
    return [arm.config[part] for part in ("purifier", "trainer", "sampler")]


def show(facts: Facts, console: Console) -> None:
    """Print the tables and what they mean."""
    for sheet in sheets(facts):
        console.print(sheet.rich())
    for remark in notes(facts):
        console.print(remark, style="dim", highlight=False)
