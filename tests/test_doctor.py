"""What the doctor says of a machine."""

import sys
from pathlib import Path
from typing import Any

import pytest

from diffshortcut import doctor
from diffshortcut.artifacts.provenance import machine_memory
from diffshortcut.config import catalog


def found() -> dict[str, list[str]]:
    return {name: others for name, *others in doctor.rows()}


def test_this_machine_can_run_the_mini_zoo(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found()["zoo=mini"] == ["there", "ok"]
    fetch = "python -m diffshortcut.weights fetch"
    assert found()["zoo=full upscaler"] == ["no sd_x4_upscaler", f"{fetch} sd_x4_upscaler"]
    restorer = ["codeformer", "parsenet", "retinaface_resnet50"]
    assert found()["zoo=full restorer"][1] == f"{fetch} {' '.join(restorer)}"
    monkeypatch.setattr(sys, "argv", ["doctor"])
    doctor.main()
    assert "torch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "packages", "said"),
    [
        (["--hlp"], (), "no option '--hlp'. Did you mean '--help'?"),
        (["attack=aspl"], (), "takes no arguments, not 'attack=aspl'"),
        ([], ("nope",), "the plug-in nope cannot be imported"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], packages: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog._of_plugins.cache_clear()
    monkeypatch.setattr(catalog, "plugins", lambda: packages)
    monkeypatch.setattr(sys, "argv", ["doctor", *words])
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    catalog._of_plugins.cache_clear()
    assert said in str(ended.value) and "\n" not in str(ended.value)


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


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("sys/fs/cgroup/job/step/memory.max", "2000", 2000),
        ("sys/fs/cgroup/job/memory.max", "2000", 2000),  # of a group around it
        ("sys/fs/cgroup/memory.max", "2000", 2000),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000", 2000),
        ("sys/fs/cgroup/job/step/memory.max", "max", None),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", str(2**63 - 4096), None),
        ("sys/fs/cgroup/other/memory.max", "2000", None),
    ],
)
def test_the_limit_of_a_container_counts(
    file: str, text: str, expected: int | None, tmp_path: Path
) -> None:
    machine = machine_memory(tmp_path)
    for name, content in (("proc/self/cgroup", "0::/job/step\n"), (file, f"{text}\n")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert machine_memory(tmp_path) == (expected or machine)


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "machine_memory", lambda: int(2e9))
    assert found()["memory"] == ["2.0 GB", "too little for the main job: 4 GB"]
    monkeypatch.setattr(doctor, "machine_memory", lambda: None)
    assert found()["memory"] == ["unknown", "ok"]
