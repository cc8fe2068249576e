"""The report as one self-contained HTML page: template, style, script and data in a file."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from diffshortcut.comparison import PRIMARY, STAR, direction
from diffshortcut.report import figures
from diffshortcut.report.labels import NONE
from diffshortcut.report.loaded import Entry, Results
from diffshortcut.report.matrix import Matrix, Means, Point, costs, curves
from diffshortcut.report.pictures import Album
from diffshortcut.report.sheet import ARROWS, TITLES, interval, significance
from diffshortcut.statistics import MIN_PEOPLE

WEB = Path(__file__).with_name("web")
CLOSED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'"
NAMES = {"metric": lambda metric: TITLES.get(metric, metric), "arrow": lambda b: ARROWS[b]}


def render(results: Results, means: Means, matrices: Sequence[Matrix], album: Album) -> str:
    """The page; every name and prompt in it is escaped, and nothing is loaded from elsewhere."""
    environment = Environment(
        loader=FileSystemLoader(WEB),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**NAMES, "interval": interval, "p": significance}
    script = (WEB / "report.js").read_text()
    order = [defense for matrix in matrices[:1] for defense in matrix.defenses]
    return environment.get_template("report.html").render(
        title=_title(results),
        policy=CLOSED.format(base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()),
        style=Markup((WEB / "report.css").read_text()),  # ours, as the script is
        script=Markup(script),
        results=results,
        matrices=matrices,
        people=sorted({row["person"] for row in results.rows}),
        curves=list(_curves(results, means, order)),
        scatters=list(_scatters(results, means, order)),
        album=album,
        entries=results.entries,
        cells={m.metric: {c.entry.name: c for c in m.cells.values()} for m in matrices},
        made=made(results),
        data=_data(results, matrices, album),
        star=STAR,
        least=MIN_PEOPLE,
        numbers={entry.name: n for n, entry in enumerate(results.entries)},
        counts={e.name: _count(e.name, means) for e in results.entries},
        none=NONE,
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


def drawings(results: Results, means: Means, matrices: Sequence[Matrix]) -> dict[str, figures.Draw]:
    """The page's figures by name, to be written for papers."""
    order = [defense for matrix in matrices[:1] for defense in matrix.defenses]
    found = [*_curves(results, means, order), *_scatters(results, means, order)]
    return {figure["name"]: figure["draw"] for figure in found}


Figure = Mapping[str, Any]  # title, svg, header and rows of the same as a table


def _curves(results: Results, means: Means, order: Sequence[str]) -> Iterator[Figure]:
    for metric in _shown(means):
        better = direction(results.rows, metric)
        for attack, lines in curves(results, means, metric).items():
            draw = figures.curve(attack, metric, better, lines, order)
            points = [(name, point) for name, of in lines.items() for point in of]
            yield {
                **_figure(draw, f"curve-{metric}-{attack}", "radius", points),
                "title": f"{attack}: {TITLES.get(metric, metric)} over the radius",
            }


def _scatters(results: Results, means: Means, order: Sequence[str]) -> Iterator[Figure]:
    metric = next((m for m in reversed(PRIMARY) if m in _shown(means)), None)
    if metric is None:
        return
    better = direction(results.rows, metric)
    for attack, points in costs(results, means, metric).items():
        draw = figures.scatter(attack, metric, better, points, order)
        yield {
            **_figure(draw, f"cost-{attack}", "seconds", [(p.label, p) for p in points]),
            "title": f"{attack}: {TITLES[metric]} and the cost of each defense",
        }


def _shown(means: Means) -> list[str]:
    return [metric for metric in PRIMARY if any(m == metric for _, m in means)]


def _figure(
    draw: figures.Draw, name: str, x: str, points: Sequence[tuple[str, Point]]
) -> dict[str, Any]:
    slug = "".join(letter if letter.isalnum() else "-" for letter in name)
    rows = [(label, f"{point.x:.3g}", interval(point.estimate)) for label, point in points]
    return {
        "name": slug,
        "draw": draw,
        "svg": Markup(figures.inline(draw, slug)),  # matplotlib escapes its texts
        "header": ("defense", x, "mean"),
        "rows": rows,
    }


def _data(results: Results, matrices: Sequence[Matrix], album: Album) -> dict[str, Any]:
    """What the script shows on demand."""
    cells = {m.metric: {c.entry.name: c for c in m.cells.values()} for m in matrices}
    means = {
        entry.name: {
            TITLES.get(metric, metric): interval(of[entry.name].estimate)
            for metric, of in cells.items()
            if entry.name in of
        }
        for entry in results.entries
    }
    return {
        "images": album.images,
        "arms": [_arm(entry, means[entry.name], album) for entry in results.entries],
    }


def _arm(entry: Entry, means: Mapping[str, str], album: Album) -> dict[str, Any]:
    config = {k: v for k, v in entry.config.items() if k in ("attack", "purifier", "trainer")}
    config |= {k: v for k, v in entry.config.items() if k in ("sampler", "seed")}
    return {
        "name": entry.name,
        "attack": entry.place.attack,
        "defense": entry.place.defense,
        "folders": [str(folder) for folder in entry.folders],
        "means": means,
        "flags": entry.flags,
        "differences": [_difference(c) for c in entry.comparisons if c["metric"] in PRIMARY],
        "stages": {person: _stages(stages) for person, stages in entry.stages.items()},
        "config": yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else "",
        "pictures": album.shown.get(entry.name, {}),
    }


def _difference(found: Mapping[str, Any]) -> list[str]:
    difference, test = found["difference"], found["person_test"]
    shown = f"{difference['value']:+.3f}"
    if difference["low"] is not None:
        shown += f" [{difference['low']:+.3f}, {difference['high']:+.3f}]"
    p = significance(test["p_value"]) if difference["people"] >= MIN_PEOPLE else "-"
    return [found["against"], TITLES.get(found["metric"], found["metric"]), shown, p]


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    return [
        [name, told["key"], f"{told['seconds']:.1f} s", f"{told['peak_memory'] / 1e6:.0f} MB"]
        for name, told in stages.items()
    ]
