"""The report as one self-contained HTML page: template, style, script and data in a file."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from diffshortcut.report.labels import shown_defense
from diffshortcut.report.loaded import Entry, Results
from diffshortcut.report.matrix import Matrix, Means
from diffshortcut.report.pictures import Album
from diffshortcut.report.plots import Figure, shown
from diffshortcut.report.sheet import ARROWS, interval, number, significance, titled
from diffshortcut.statistics import MIN_PEOPLE, Estimate
from diffshortcut.statistics.comparison import PRIMARY, STAR

WEB = Path(__file__).with_name("web")
CLOSED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'"


FILTERS: dict[str, Callable[..., Any]] = {
    "metric": titled,
    "arrow": lambda better: ARROWS[better],
    "defense": shown_defense,
    "breakable": lambda name: Markup("<wbr>").join(re.split(r"(?<=[_+ ])", name)),
    "interval": interval,
    "number": number,
    "p": significance,
}


def render(
    results: Results,
    means: Means,
    matrices: Sequence[Matrix],
    drawn: Mapping[str, Sequence[Figure]],
    album: Album,
) -> str:
    """The page; every name and prompt in it is escaped, and nothing is loaded from elsewhere."""
    environment = Environment(
        loader=FileSystemLoader(WEB),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False}
    script = (WEB / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(
        title=_title(results),
        policy=CLOSED.format(base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()),
        style=Markup((WEB / "report.css").read_text(encoding="utf-8")),  # ours, as the script is
        script=Markup(script),
        results=results,
        matrices=matrices,
        people=sorted({row["person"] for row in results.rows}),
        scores=drawn["scores"],
        curves=drawn["radius"],
        scatters=drawn["cost"],
        families=drawn["families"],
        album=album,
        entries=results.entries,
        cells={m.metric: {c.entry.name: c for c in m.cells.values()} for m in matrices},
        made=made(results),
        data=_data(results, means, matrices, album),
        star=STAR,
        least=MIN_PEOPLE,
        numbers={entry.name: n for n, entry in enumerate(results.entries)},
        counts={e.name: _count(e.name, means) for e in results.entries},
    )


def _count(arm: str, means: Means) -> int:
    """How many people an arm has."""
    return len(set().union(*(people for (name, _), people in means.items() if name == arm)))


def _title(results: Results) -> str:
    attacks = list(dict.fromkeys(e.place.attack for e in results.entries))
    defenses = list(dict.fromkeys(e.place.defense for e in results.entries))
    return f"{len(attacks)} x {len(defenses)}" if len(attacks) > 3 else ", ".join(attacks)


def made(results: Results) -> dict[str, list[str]]:
    """What the artifacts were made with: every value that occurs, by what it is."""
    wanted = ("git", "diffshortcut", "python", "device", "threads", "platform", "processor")
    found: dict[str, dict[str, None]] = {name: {} for name in (*wanted, "packages")}
    for entry in results.entries:
        for stages in entry.stages.values():
            for told in stages.values():
                for name in wanted:
                    found[name][str(told.get(name, "?"))] = None
                packages = told.get("packages", {}).items()
                found["packages"][", ".join(f"{n} {v}" for n, v in packages)] = None
    return {name: list(values) for name, values in found.items() if values}


def _data(
    results: Results, means: Means, matrices: Sequence[Matrix], album: Album
) -> dict[str, Any]:
    """What the script shows on demand."""
    averages: dict[str, dict[str, str]] = {entry.name: {} for entry in results.entries}
    for matrix in matrices:
        for cell in matrix.cells.values():
            averages[cell.entry.name][titled(matrix.metric)] = interval(cell.estimate)
    scores: dict[str, dict[str, dict[str, str]]] = {}
    for metric in shown(means):
        for entry in results.entries:
            for person, value in means.get((entry.name, metric), {}).items():
                of = scores.setdefault(entry.name, {}).setdefault(person, {})
                of[titled(metric)] = number(value, 2)
    return {
        "images": album.images,
        "arms": [
            {
                **_arm(entry, album),
                "means": averages[entry.name],
                "scores": scores.get(entry.name, {}),
            }
            for entry in results.entries
        ],
    }


def _arm(entry: Entry, album: Album) -> dict[str, Any]:
    config = {k: v for k, v in entry.config.items() if k in ("attack", "purifier", "trainer")}
    config |= {k: v for k, v in entry.config.items() if k in ("sampler", "seed")}
    return {
        "name": entry.name,
        "attack": entry.place.attack,
        "defense": shown_defense(entry.place.defense),
        "folders": [str(folder) for folder in entry.folders],
        "flags": entry.flags,
        "differences": [_difference(c) for c in entry.comparisons if c["metric"] in PRIMARY],
        "stages": {person: _stages(stages) for person, stages in entry.stages.items()},
        "config": yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else "",
        "pictures": album.shown.get(entry.name, {}),
    }


def _difference(found: Mapping[str, Any]) -> list[str]:
    difference = Estimate(**found["difference"])
    tested = difference.people >= MIN_PEOPLE and found.get("fair", True)
    p = found["person_test"]["p_value"] if tested else None
    shown = interval(difference, sign="+")
    return [found["against"], titled(found["metric"]), shown, significance(p)]


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """A line per stage: its key, its cost, where and with which source it was made."""
    return [
        [
            name,
            told["key"],
            f"{told['seconds']:.1f} s",
            f"{told['peak_memory'] / 1e6:.0f} MB",
            (told.get("gpu") or {}).get("name") or told.get("device") or "-",
            _commit(told),
            _remark(told),
        ]
        for name, told in stages.items()
    ]


def _commit(told: Mapping[str, Any]) -> str:
    """The start of the git commit, with the + of a checkout that had changes."""
    commit = told.get("git") or "-"
    return commit[:8] + "+" * (commit[8:].endswith("+"))


def _remark(told: Mapping[str, Any]) -> str:
    return "micro-batch halved (out of memory)" if told.get("out_of_memory") else "-"
