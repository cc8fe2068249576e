"""The dashboard's view, built without a login."""

import json
import sys

import pytest
from result_folders import Arm

from diffshortcut import dashboard
from diffshortcut.errors import UserError
from diffshortcut.report import tracked, wandb_child
from diffshortcut.report.facts import Baselines, Facts
from diffshortcut.statistics.comparison import PRIMARY, Claim


@pytest.fixture
def _workspaces():
    pytest.importorskip("wandb_workspaces", reason="needs the extra [dashboard]")


def logged():
    """What the run of a comparison with a claim calls its tables."""
    arms = [Arm("none"), Arm("aspl"), Arm("aspl", "jpeg")]
    row = {"metric": "ims", "prompt": "a photo", "sample": 0, "better": "higher"}
    rows = [
        {**row, "arm": arm.name, "person": f"p{n}", "value": level + n / 100}
        for level, arm in enumerate(arms)
        for n in range(8)
    ]
    names, claims = [arm.name for arm in arms], [Claim("ims", "aspl+jpeg", ("aspl",))]
    facts = Facts(names, rows, Baselines("clean", {"aspl+jpeg": "aspl"}), claims)
    return set(wandb_child._shown({"rows": rows, "tables": tracked.tables(facts, arms)}))


def test_the_tables_it_shows_are_those_that_are_logged():
    assert set(dashboard.TABLES) == logged()


@pytest.mark.slow  # for its extra
def test_the_view_fits_the_schema(_workspaces, tmp_path, monkeypatch, capsys):
    row = {"person": "p", "metric": "ims", "value": 0.5}
    lines = [json.dumps({"arm": arm, **row}) for arm in ("clean", "aspl+ours")]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    out = tmp_path / "view.json"
    given = ["dashboard", str(tmp_path), "--entity", "me", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", given)
    dashboard.main()
    view = json.loads(out.read_text())
    assert (view["entity"], view["project"]) == ("me", "diffshortcut")
    sections = view["spec"]["section"]["panel_bank_config"]["sections"]
    named = {section["name"]: section["panels"] for section in sections}
    assert list(named)[:4] == ["Results", "Pictures", "Scores", "Stages"]
    text = json.dumps(named["Results"])
    assert all(f'"val": "{table}"' in text for table in logged())
    bars = [panel["config"]["metrics"] for panel in named["Scores"]]
    arms = [f"summary_metrics.{arm}" for arm in ("clean", "aspl+ours")]  # as the library says it
    assert bars == [[f"{arm}/{metric}" for arm in arms] for metric in PRIMARY]
    assert "4 sections, 2 arms" in capsys.readouterr().out


@pytest.mark.slow
def test_saving_without_a_login_says_so(_workspaces, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(UserError, match="wandb login"):
        dashboard._save(dashboard.build([], entity="me", project="p"))


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(UserError, match=r"diffshortcut\[dashboard\]"):
        dashboard.build([], entity="me", project="p")


def test_a_place_that_cannot_be_written_is_said(monkeypatch, tmp_path):
    (tmp_path / "afile").write_text("")
    monkeypatch.setattr(dashboard, "build", lambda arms, **_: None)
    monkeypatch.setattr(dashboard, "as_json", lambda _: "{}")
    for out in (tmp_path / "afile" / "x.json", tmp_path):
        monkeypatch.setattr(sys, "argv", ["dashboard", "--entity", "me", "--out", str(out)])
        with pytest.raises(SystemExit, match=f"error: cannot write {out}: "):
            dashboard.main()
