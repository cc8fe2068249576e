"""The record in which experiments of many sittings meet."""

import json
from pathlib import Path

import pytest
from result_folders import GAIN, LEVEL, Arm, Folder

from experiments import kept


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "HERE", tmp_path)
    (tmp_path / "table1").mkdir()
    return tmp_path


def result(root: Path, attack: str, people: list[str]) -> str:
    arms = [Arm("none", called="clean"), Arm(attack, called="perturbed")]
    arms.append(Arm(attack, "jpeg", called="jpeg"))
    return str(Folder(root, f"{attack}-{people[0]}", arms, people=people).write())


def test_people_of_many_runs_come_together(place: Path) -> None:
    """Equal arms of two attacks stay apart; equal people are not counted twice."""
    for attack, people in (("aspl", ["a", "b"]), ("aspl", ["b", "c"]), ("advdm", ["a"])):
        kept.main("table1", result(place, attack, people))
    found = kept.read_kept("table1")
    assert {at: sorted(arm.people) for at, arm in found.items()} == {
        ("none", "clean"): ["a", "b", "c"],
        ("aspl", "perturbed"): ["a", "b", "c"],
        ("aspl", "jpeg"): ["a", "b", "c"],
        ("advdm", "perturbed"): ["a"],
        ("advdm", "jpeg"): ["a"],
    }
    lost = kept.difference(found, ("aspl", "jpeg"), ("aspl", "perturbed"), "ims")
    assert lost is not None and lost.people == 3
    assert lost.value == pytest.approx(GAIN["jpeg"], abs=0.02)


def test_an_undefended_arm_is_called_alike_under_every_attack(place: Path) -> None:
    kept.main("table1", str(Folder(place, "x", [Arm("none"), Arm("aspl")]).write()))
    assert list(kept.read_kept("table1")) == [("none", "clean"), ("aspl", "protected")]


def test_the_table_sets_the_paper_beside_and_says_from_how_many(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.main("table1", result(place, "aspl", ["a", "b"]))
    kept.main("table1")
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    [perturbed] = [line for line in lines if line[1:2] == ["perturbed"]]
    assert perturbed[0] == "| aspl" and perturbed[2] == "2"
    mean = LEVEL["aspl"] - 0.11 + 0.01 + 0.005  # of radius 11, two people, two samples
    assert float(perturbed[3]) == pytest.approx(mean, abs=1e-3)
    assert (perturbed[4], perturbed[6]) == ("-0.04", "-0.62")  # Table 1
    [clean] = [line for line in lines if line[1:2] == ["clean"]]
    assert (clean[4], clean[6]) == ("0.27", "0.21")


def test_what_is_kept_is_a_line_per_attack_arm_and_person(place: Path) -> None:
    kept.main("table1", result(place, "aspl", ["a", "b"]))
    lines = (place / "table1" / "means.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert {"attack", "arm", "person", "ims", "q", "overall"} <= json.loads(lines[0]).keys()


def test_a_place_is_one_config(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An arm of the same name and another radius or seed is left out, the others are kept."""
    kept.main("table1", str(Folder(place, "x", [Arm("none"), Arm("aspl")], ["a"]).write()))
    other = [Arm("none"), Arm("aspl", radius=4), Arm("aspl", "jpeg")]
    kept.main("table1", str(Folder(place, "y", other, ["b"]).write()))
    seeded = [Arm("none", more={"seed": 1})]
    kept.main("table1", str(Folder(place, "z", seeded, ["c"]).write()))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "y: aspl protected is configured otherwise" in said[0]
    assert "z: none clean is configured otherwise" in said[1]
    assert {at: sorted(arm.people) for at, arm in kept.read_kept("table1").items()} == {
        ("none", "clean"): ["a", "b"],
        ("aspl", "protected"): ["a"],
        ("aspl", "aspl+jpeg"): ["b"],
    }


def test_jobs_that_differ_in_more_than_the_attack_stand_apart(place: Path) -> None:
    """figure8 sweeps the radius: its lines name it, each beside the clean arm of its job."""
    (place / "figure8").mkdir()
    for radius in (4, 11):
        folder = Folder(place, f"r{radius}", [Arm("none"), Arm("aspl", radius=radius)]).write()
        record = json.loads((folder / "record.json").read_text())
        record["overrides"] = [f"attack.radius={radius}", "experiment=figure8"]
        (folder / "record.json").write_text(json.dumps(record))
        kept.main("figure8", str(folder))
    found = kept.read_kept("figure8")
    assert ("aspl attack.radius=4", "protected") in found and len(found) == 4
    shown = kept.table("figure8", found).splitlines()
    assert sum(line.endswith("|  |") for line in shown) == 2  # the clean ones have no clean - arm


def test_a_debugged_result_is_not_kept(place: Path) -> None:
    folder = Folder(place, "x", [Arm("none"), Arm("aspl")]).write()
    record = json.loads((folder / "record.json").read_text())
    record["choices"] = {arm: {**of, "debug": "tiny"} for arm, of in record["choices"].items()}
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(SystemExit, match="debug=tiny"):
        kept.main("table1", str(folder))


def test_what_is_not_there_is_said_in_a_line(place: Path) -> None:
    (place / "x").mkdir()
    for broken in (place / "nope", place / "x"):
        with pytest.raises(SystemExit, match=f"error: {broken}/record.json: No such file"):
            kept.main("table1", str(broken))
    (place / "x" / "record.json").write_text("[]")
    with pytest.raises(SystemExit, match="x/record.json: not a JSON object"):
        kept.main("table1", str(place / "x"))
    with pytest.raises(SystemExit, match="'tabel1'. Did you mean 'table1'"):
        kept.main("tabel1")


def test_an_experiment_that_nothing_was_kept_of_has_a_table_without_lines(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.main("controls")
    assert len(capsys.readouterr().out.splitlines()) == 2
    kept.main("controls", result(place, "aspl", ["a"]))
    assert (place / "controls" / "means.jsonl").is_file()
