"""The child process that writes one offline W&B run; see `tracking.py`."""

import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

COLUMNS = ("arm", "person", "metric", "value", "prompt", "sample", "better")


def main() -> None:
    """Read a run's description from standard input and write the run, unless W&B is disabled.

    The file in the run's folder that the argument names is written last, with the user's mode.
    """
    import wandb

    spec = json.load(sys.stdin)
    mode = wandb.setup().settings.mode  # as the environment and the user's settings files say
    if mode == "disabled":
        return
    with wandb.init(mode="offline", config=spec["config"], **spec["settings"]) as run:
        table = wandb.Table(columns=list(COLUMNS), data=_cells(spec["rows"]))
        run.log({"rows": table, "gallery": wandb.Image(spec["gallery"])})
        run.summary.update(_means(spec["rows"]))
    (Path(run.dir).parent / sys.argv[1]).write_text(mode)


def _cells(rows: list[dict[str, Any]]) -> list[list[Any]]:
    return [[row.get(column) for column in COLUMNS] for row in rows]


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(f"{row['arm']}/{row['metric']}", []).append(row["value"])
    return {name: fmean(found) for name, found in values.items()}


if __name__ == "__main__":
    main()
