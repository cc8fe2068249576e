"""What was measured in the cells of a comparison: scores, costs, flags."""

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from diffshortcut import flags, links
from diffshortcut.artifacts.store import Store
from diffshortcut.errors import UserError, listed
from diffshortcut.graph.cells import Task
from diffshortcut.result_files import ROWS  # the artifact of score has one too

log = logging.getLogger(__name__)
FACES = ("ims", "ims_a", "ims_b", "no_face")
METRICS = {  # ours, by target: what they measure, a family by its beginning
    "diffshortcut.metrics.ims.IMS": FACES,
    "diffshortcut.metrics.legacy_ims.LegacyIMS": FACES,
    "diffshortcut.metrics.quality.Quality": ("q", "liqe", "clip_iqac"),
    "diffshortcut.metrics.style.Style": ("style",),
    "diffshortcut.metrics.faithfulness.Faithfulness": (
        *("perceptual_moved", "perceptual_protected", "perceptual_purified"),
        *("psnr_protected", "psnr_purified", "ssim_protected", "ssim_purified"),
        *("identity_protected", "identity_purified", "no_face_protected", "no_face_purified"),
    ),
    "diffshortcut.metrics.mismatch.Mismatch": ("mismatch.",),
    "diffshortcut.metrics.shortcut.Shortcut": ("shortcut_noise.", "shortcut_high_frequency."),
}
ALWAYS = ("overall", "seconds.", "peak_memory", "objective.", "noted.")  # of ims and q, of stages
Cell = Mapping[str, Task]
Cells = Iterable[tuple[str, str, Cell]]  # arm, person, cell


def check_claims(config: Mapping[str, Any]) -> None:
    """UserError for a claim's metric that nothing measures; a warning if only nothing here does.

    What a plug-in measures is known to itself alone: beside one every name may be right.
    """
    here = [node.get("_target_") for node in (config.get("metric") or {}).values() if node]
    if any(target not in METRICS for target in here):
        return
    names = dict.fromkeys([*(name for of in METRICS.values() for name in of), *ALWAYS])
    configured = [*(name for target in here for name in METRICS[target]), *ALWAYS]
    for metric in dict.fromkeys(claim["metric"] for claim in config["compare"]["claims"]):
        if not _is_one(metric, names):
            raise UserError(f"compare.claims: nothing measures '{metric}'.{listed(metric, names)}")
        if not _is_one(metric, configured):
            log.warning("compare.claims: metric=... measures no %s here, so no star of it", metric)


def _is_one(metric: str, names: Iterable[str]) -> bool:
    return any(metric == name or (name[-1] == "." and metric.startswith(name)) for name in names)


def rows(cells: Cells, seeds: Mapping[str, int], store: Store) -> list[dict[str, Any]]:
    """Every score, what links noted last and what every stage cost.

    With arm, person, training seed (`seeds`, by arm) and stage keys.
    """
    found = []
    for arm, person, cell in cells:
        who = {"arm": arm, "person": person, "training_seed": seeds[arm]}
        ids = {name: task.key for name, task in cell.items()}
        measured = [*_scores(cell, store), *_objectives(cell, store), *_costs(cell, store)]
        found += [{**who, **row, "keys": ids} for row in measured]
    return found


def raised(cells: Cells, store: Store) -> dict[str, dict[str, dict[str, str]]]:
    """The flags of all cells: arm -> flag -> person -> what was seen."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for arm, person, cell in cells:
        for flag, detail in flags_of(cell, store).items():
            found.setdefault(arm, {}).setdefault(flag, {})[person] = detail
    return found


def changes(cells: Cells, store: Store) -> dict[str, dict[str, float]]:
    """How far protections moved a person's sub-pixels on the mean, in levels: arm -> person."""
    found: dict[str, dict[str, float]] = {}
    for arm, person, cell in cells:
        if (mean := _facts(cell["protect"], store).get("mean")) is not None:
            found.setdefault(arm, {})[person] = mean
    return found


def flags_of(cell: Cell, store: Store) -> dict[str, str]:
    """What is suspicious about a cell, by the name of the flag (docs/flags.md)."""
    purified = [_facts(task, store) for task in cell.values() if task.stage == "purify"]
    made = _facts(cell["protect"], store)
    unaware = bool(made.get("steps")) and not looks_through(cell)
    return {**made.get("flags", {}), **flags.of_purification(purified, unaware=unaware)}


def looks_through(cell: Cell) -> bool:
    """Whether the attack of a cell differentiates the purification of that cell."""
    chain = links.of({name: task.config for name, task in cell.items()})
    purifier = {name: config["link"] for name, config in chain.items()}
    return links.aimed_at(cell["protect"].config["attack"].get("target"), purifier)


def _scores(cell: Cell, store: Store) -> list[dict[str, Any]]:
    scores = [store.path(task.stage, task.key) for task in cell.values() if task.stage == "score"]
    texts = [(folder / ROWS).read_text() for folder in scores]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def _objectives(cell: Cell, store: Store) -> list[dict[str, Any]]:
    """The attack's objective on held-out draws: of clean, protected and equally noisy images."""
    found = _facts(cell["protect"], store).get("objective", {})
    return _plain({f"objective.{name}": value for name, value in found.items()}, better=None)


def _facts(task: Task, store: Store) -> dict[str, Any]:
    return store.provenance(task.stage, task.key)["facts"]


def _costs(cell: Cell, store: Store) -> list[dict[str, Any]]:
    spent = {name: store.provenance(task.stage, task.key) for name, task in cell.items()}
    values = {f"seconds.{name}": facts["seconds"] for name, facts in spent.items()}
    values["peak_memory"] = max(facts["peak_memory"] for facts in spent.values())
    facts = links.of({name: told["facts"] for name, told in spent.items()})
    values |= links.seconds(facts)
    return [*_plain(values, better="lower"), *_plain(links.noted(facts), better=None)]


def _plain(values: Mapping[str, float], better: str | None) -> list[dict[str, Any]]:
    """Rows of what is measured once per person, not per image."""
    empty = {"prompt": None, "sample": None, "better": better}
    return [{"metric": metric, "value": value, **empty} for metric, value in values.items()]
