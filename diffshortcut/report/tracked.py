"""What W&B is shown of a comparison, as tables of plain values."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from diffshortcut.config import sweep
from diffshortcut.report.arm import Arm
from diffshortcut.report.facts import Facts
from diffshortcut.report.gallery import COLUMNS, Pictures
from diffshortcut.report.labels import Described, places, together
from diffshortcut.report.loaded import Entry, Results
from diffshortcut.report.matrix import matrices
from diffshortcut.report.tracking import Table, log_run
from diffshortcut.result_files import COMPARISON, GALLERY, ROWS, TABLE
from diffshortcut.statistics.comparison import Compared, people_means

Told = tuple[str, str, Mapping[str, Any]]  # arm, name of the stage, provenance
logger = logging.getLogger(__name__)

MATRIX = ["attack", "defense", "metric", "mean", "low", "high", "people", "rank", "star"]
TESTS = ["arm", "against", "metric", "difference", "low", "high", "effect", "people"]
TESTS += ["p", "method", "least_p", "p_images"]
CLAIMS = ["arm", "metric", "hardest", "p", "holm", "family", "method", "least_p", "people", "star"]
FILES = (ROWS, COMPARISON, TABLE)
STAGES = ["stage", "key", "person", "arms", "seconds", "peak_memory", "too_large", "device", "git"]
STAGES += ["flags"]  # before it, too_large: the micro-batches for which memory ran out


def log(
    own: Arm,
    arms: Sequence[Arm],
    facts: Facts,
    told: Iterable[Told],
    folder: Path,
    gallery: Pictures,
) -> bool:
    """Log the comparison in `folder` as the command line's own config says; never raises.

    Whether it is written now, or was before.
    """
    config = own.config
    settings = config["logger"]
    try:
        shown = {"tables": tables(facts, arms), "stages": stages(told)}
    except Exception as error:  # a view must never fail what it shows
        logger.warning("W&B: not logged (%s)", error)
        return False
    return log_run(
        rows=facts.rows,
        gallery=folder / GALLERY,
        folder=folder.parent,
        config=config,
        project=settings["project"],
        group=settings["group"] or own.choices.get("experiment") or _sweep() or folder.name,
        timeout=settings["timeout"],
        pictures=pictures(gallery),
        files=[folder / name for name in FILES],
        means={f"{arm}/{metric}": mean for (arm, metric), mean in facts.means().items()},
        **shown,
    )


def _sweep() -> str | None:
    """A name that the jobs of a sweep share, in whatever process (Slurm); None outside of one."""
    if not HydraConfig.initialized() or HydraConfig.get().mode is not RunMode.MULTIRUN:
        return None
    return sweep.name()


def tables(facts: Facts, arms: Sequence[Arm]) -> dict[str, Table]:
    """The matrix, the tests and the declared claims; those that are empty are left out."""
    found: dict[str, Table] = {
        "matrix": {"columns": MATRIX, "data": _matrix(facts, arms)},
        "tests": {
            "columns": TESTS,
            "data": [_test(c, facts.is_fair(c.arm, c.against)) for c in facts.comparisons],
        },
        "claims": {"columns": CLAIMS, "data": _claims(facts)},
    }
    return {name: table for name, table in found.items() if table["data"]}


def _matrix(facts: Facts, arms: Sequence[Arm]) -> list[list[Any]]:
    own = {arm.name: Described(arm.name, arm.name, arm.config, arm.choices) for arm in arms}
    chosen = [together(n, [own[arm] for arm in found.arms]) for n, found in facts.worst.items()]
    described = [*own.values(), *chosen]
    at = places(described)
    entries = [Entry(arm.name, at[arm.name], choices=arm.choices) for arm in described]
    for entry in entries:
        entry.stars.update(m for m in facts.metrics if facts.starred(entry.name, m))
    results = Results(rows=facts.rows, entries=entries, verdicts={}, commands={}, remarks=[])
    return [
        [attack, defense, matrix.metric, cell.value, cell.estimate.low, cell.estimate.high]
        + [cell.estimate.people, cell.rank, cell.star]
        for matrix in matrices(results, people_means(facts.rows))
        for (attack, defense), cell in matrix.cells.items()
    ]


def _test(found: Compared, fair: bool) -> list[Any]:
    difference, test, images = found.difference, found.person_test, found.image_test
    p, of_images = test.p_value, images.p_value if images else None
    return [
        *(found.arm, found.against, found.metric, difference.value, difference.low),
        *(difference.high, test.effect, difference.people, p if fair else None, test.method),
        *(test.smallest_p, of_images if fair else None),
    ]


def _claims(facts: Facts) -> list[list[Any]]:
    return [
        [v.claim.arm, v.claim.metric, v.hardest, v.p_value, v.adjusted, facts.declared]
        + [test.method, test.smallest_p, v.people, v.star]
        for v in facts.verdicts
        for test in [v.tests[v.hardest]]
    ]


def stages(told: Iterable[Told]) -> dict[str, Table]:
    """A table per kind of stage: each artifact once, with the arms that share it."""
    lines: dict[tuple[str, str], list[Any]] = {}
    arms: dict[tuple[str, str], dict[str, None]] = {}
    for arm, name, made in told:
        place = made["stage"], made["key"]
        arms.setdefault(place, {})[arm] = None
        flags = ", ".join(made["facts"].get("flags", {}))
        halved = ", ".join(map(str, made.get("out_of_memory", ())))
        cost = [made["seconds"], made["peak_memory"], halved, made["device"], made["git"]]
        lines[place] = [name, made["key"], made["person"], ", ".join(arms[place]), *cost, flags]
    found: dict[str, Table] = {}
    for (stage, _), line in lines.items():
        found.setdefault(stage, {"columns": STAGES, "data": []})["data"].append(line)
    return found


def pictures(gallery: Pictures) -> Table:
    """The first picture of each column and arm."""

    def first(files: Sequence[Path]) -> str | None:
        return str(files[0].absolute()) if files else None

    data = [
        [arm, *(first(of.get(column, ())) for column in COLUMNS)] for arm, of in gallery.items()
    ]
    return {"columns": ["arm", *COLUMNS], "data": data}
