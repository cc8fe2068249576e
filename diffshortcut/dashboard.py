"""The W&B workspace of a project, built from code.

python -m diffshortcut.dashboard outputs/RUN --entity me           writes outputs/dashboard.json
python -m diffshortcut.dashboard outputs/RUN --entity me --save    makes it on the server as well

The second needs a login and has not been tested.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffshortcut.errors import UserError, exit_on_mistake
from diffshortcut.report.sheet import titled
from diffshortcut.statistics.comparison import PRIMARY
from diffshortcut.statistics.rows import read

TABLES = ("matrix", "claims", "tests", "rows")  # of a comparison's run
MOST = 40  # bars of a plot


def build(arms: Sequence[str], *, entity: str, project: str, name: str = "DiffShortcut") -> Any:
    """The workspace: tables, pictures, a bar plot per score over `arms`, what the stages cost.

    Runs are grouped by grid and kind of stage. UserError without the extra `dashboard`.
    """
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UserError(
            "wandb-workspaces is missing: pip install 'diffshortcut[dashboard]'"
        ) from error

    tables = [panels.WeavePanelSummaryTable(table_name=table) for table in TABLES]
    shown = [
        panels.MediaBrowser(
            title="original, protected, purified, generated", media_keys=["gallery"]
        ),
        panels.WeavePanelSummaryTable(table_name="pictures"),
    ]
    scores = [
        panels.BarPlot(
            title=titled(metric),
            metrics=[panels.SummaryMetric(f"{arm}/{metric}") for arm in arms],
            max_bars_to_show=MOST,
        )
        for metric in PRIMARY
    ]
    costs = [panels.WeavePanelSummaryTable(table_name="stages")]
    sections: dict[str, Any] = {
        "Results": tables,
        "Pictures": shown,
        "Scores": scores,
        "Stages": costs,
    }
    return ws.Workspace(
        name=name,
        entity=entity,
        project=project,
        sections=[
            ws.Section(name=title, panels=of, is_open=title != "Stages")
            for title, of in sections.items()
            if arms or title != "Scores"
        ],
        runset_settings=ws.RunsetSettings(groupby=[ws.Metric("Group"), ws.Metric("JobType")]),
    )


def as_json(workspace: Any) -> str:
    """The view as it would be sent, checked against W&B's own schema. No login is needed."""
    model = workspace._to_model()  # the only way without a server
    text: str = model.model_dump_json(indent=1)
    type(model).model_validate_json(text)
    return text


def main() -> None:
    """Write the view, and with --save make it on the server."""
    parser = argparse.ArgumentParser(
        prog="python -m diffshortcut.dashboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="*", help="result folders, for the names of the arms")
    parser.add_argument("--entity", required=True, help="W&B user or team")
    parser.add_argument("--project", default="diffshortcut", help="(%(default)s)")
    parser.add_argument("--out", default="outputs/dashboard.json", help="(%(default)s)")
    parser.add_argument("--save", action="store_true", help="make it on the server")
    asked = parser.parse_args()
    with exit_on_mistake():
        rows = [row for folder in asked.folders for row in read(Path(folder))]
        arms = list(dict.fromkeys(row["arm"] for row in rows))
        workspace = build(arms, entity=asked.entity, project=asked.project)
        out = Path(asked.out)
        _write(out, as_json(workspace) + "\n")
        print(f"{out}: {len(workspace.sections)} sections, {len(arms)} arms")
        if asked.save:
            _save(workspace)


def _write(out: Path, text: str) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}") from error


def _save(workspace: Any) -> None:
    import wandb

    try:
        workspace.save()
    except (wandb.errors.Error, OSError) as error:
        raise UserError(f"not saved: {error}; log in with: wandb login") from error
    print(workspace.url)


if __name__ == "__main__":
    main()
