"""The child process that writes offline W&B runs; see `tracking.py`."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = ("arm", "person", "training_seed", "metric", "value", "prompt", "sample", "better")


def main() -> None:
    """Read the runs' description from standard input and write them, unless W&B is disabled.

    The file in a run's folder that the argument names is written last, with the user's mode.
    """
    import wandb

    spec = json.load(sys.stdin)
    wandb.Table.MAX_ROWS = wandb.Table.MAX_ARTIFACT_ROWS  # it cuts without a word
    mode = wandb.setup().settings.mode  # as the environment and the user's settings files say
    if mode == "disabled":
        return
    for told in spec["runs"]:
        own = {"id": told["id"], "job_type": told["job_type"], "config": told["config"]}
        with wandb.init(mode="offline", resume="allow", **own, **spec["settings"]) as run:
            run.log(_shown(told))
            run.summary.update(told.get("means", {}))
            if told.get("files"):
                files, digest = _artifact(told["files"])
                run.log_artifact(files, aliases=[digest])
        (Path(run.dir).parent / sys.argv[1]).write_text(mode)


def _shown(told: dict[str, Any]) -> dict[str, Any]:
    """What a run logs: tables, the gallery, and tables of pictures."""
    import wandb

    found: dict[str, Any] = {n: wandb.Table(**table) for n, table in told["tables"].items()}
    if told["rows"]:
        found["rows"] = wandb.Table(columns=list(COLUMNS), data=_cells(told["rows"]))
    if told.get("gallery"):
        found["gallery"] = wandb.Image(told["gallery"])
    if table := told.get("pictures"):
        data = [[_picture(cell) for cell in line] for line in table["data"]]
        found["pictures"] = wandb.Table(columns=table["columns"], data=data)
    return found


def _picture(cell: str | None) -> Any:
    """The picture that a cell names, or the cell itself."""
    import wandb

    return wandb.Image(cell) if cell and Path(cell).is_file() else cell


def _artifact(paths: list[str]) -> tuple[Any, str]:
    """The files under one name, and a digest of their content: equal files are one version."""
    import wandb

    digest = hashlib.sha256()
    artifact = wandb.Artifact(Path(paths[0]).parent.name, type="results")
    for path in paths:
        digest.update(Path(path).read_bytes())
        artifact.add_file(path)
    return artifact, digest.hexdigest()[:16]


def _cells(rows: list[dict[str, Any]]) -> list[list[Any]]:
    return [[row.get(column) for column in COLUMNS] for row in rows]


if __name__ == "__main__":
    main()
