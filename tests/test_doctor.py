"""What the doctor says of a machine."""

from typing import Any

import pytest

from diffshortcut import doctor


def found() -> dict[str, list[str]]:
    return {name: others for name, *others in doctor.rows()}


def test_this_machine_can_run_the_mini_zoo(capsys: Any) -> None:
    assert found()["zoo=mini"] == ["there", "ok"]
    fetch = "python -m diffshortcut.weights fetch"
    assert found()["zoo=full upscaler"] == ["no sd_x4_upscaler", f"{fetch} sd_x4_upscaler"]
    restorer = ["codeformer", "parsenet", "retinaface_resnet50"]
    assert found()["zoo=full restorer"][1] == f"{fetch} {' '.join(restorer)}"
    doctor.main()
    assert "torch" in capsys.readouterr().out


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = "xformers"
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == absent else object()
    )
    by_extra = {
        name.split()[1].rstrip(":"): row for name, row in found().items() if "extra" in name
    }
    assert by_extra.pop("gpu") == ["no xformers", "pip install 'diffshortcut[gpu]'"]
    assert all(row == ["there", "ok"] for row in by_extra.values())


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "machine_memory", lambda: int(2e9))
    assert found()["memory"] == ["2.0 GB", "too little for the main job: 4 GB"]
    monkeypatch.setattr(doctor, "machine_memory", lambda: None)
    assert found()["memory"] == ["unknown", "ok"]
