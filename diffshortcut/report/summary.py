"""The record of a comparison in a folder: rows.jsonl, table.md, comparison.json, gallery.png."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from diffshortcut.report import gallery as pictures
from diffshortcut.report import published, threat, worst
from diffshortcut.report.arm import Arm
from diffshortcut.report.facts import Baselines, Facts, Flags
from diffshortcut.report.notes import notes
from diffshortcut.report.table import markdown, sheets
from diffshortcut.result_files import COMPARISON, GALLERY, ROWS, TABLE
from diffshortcut.statistics.comparison import Claim, Row, check, with_overall


def write(facts: Facts, *, folder: Path, gallery: pictures.Pictures) -> None:
    """Write the four files of what `facts` says; `show` prints it.

    `gallery` maps an arm to its columns' files. Of rows that are copies of others (worst-of arms)
    rows.jsonl holds none.
    """
    record = json.dumps(facts.record(), indent=1, allow_nan=False)
    folder.mkdir(parents=True, exist_ok=True)
    own = (row for row in facts.rows if row["arm"] not in facts.worst)
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in own)
    (folder / ROWS).write_text(lines)
    (folder / TABLE).write_text(markdown(sheets(facts), notes(facts)))
    (folder / COMPARISON).write_text(record + "\n")
    pictures.draw(gallery).save(folder / GALLERY)


def summarize(
    *,
    arms: Sequence[Arm],
    rows: Sequence[Row],
    compare: Mapping[str, Any],
    flags: Flags | None = None,
    changes: Mapping[str, Mapping[str, float]] | None = None,
) -> Facts:
    """What a comparison says.

    `rows` carry arm and person; `overall` is added to those that have IMS and Q. `compare.clean`
    names the clean arm, `compare.claims` lists the declared tests as {metric, arm, rivals},
    `compare.family` counts those of all jobs of a sweep, `compare.pairs` are arms to be compared
    besides, `compare.worst` arms to be put together from others, whose rows are copies. `flags` are
    what made cells suspicious, `changes` the levels by which protections moved a person's pictures,
    by arm. ValueError if a value is not finite.
    """
    check(rows)
    complete = with_overall(rows)
    put_together = worst.choose(complete, compare.get("worst", {}))
    copies = [row for name, found in put_together.items() for row in found.rows(name, complete)]
    knows = {arm.name: threat.known(arm.config) for arm in arms}
    for name, found in put_together.items():
        knows[name] = threat.jointly(knows[arm] for arm in found.arms)
    return Facts(
        arms=[*(arm.name for arm in arms), *put_together],
        rows=[*complete, *copies],
        baselines=baselines(arms, compare.get("clean", "clean")),
        claims=[
            Claim(c["metric"], c["arm"], tuple(c["rivals"])) for c in compare.get("claims", ())
        ],
        family=compare.get("family"),
        pairs=[(arm, against) for arm, against in compare.get("pairs", ())],
        knows=knows,
        worst=put_together,
        published=published.of(arms),
        flags=flags or {},
        changes=changes or {},
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
