"""What `make bench` keeps, shows and composes; its jobs are run by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from diffshortcut.bench import finished, overview, processes
from diffshortcut.bench.book import Book, described, read
from diffshortcut.bench.measured import Times
from diffshortcut.bench.pairs import Effort, Side, compare, most
from diffshortcut.bench.parts import growth, main_job, methods, sampling, start, training
from diffshortcut.bench.records import MISSED, Figure, Growth, Pair, from_plain, to_plain
from diffshortcut.config import config
from diffshortcut.data import portraits
from diffshortcut.errors import UserError
from diffshortcut.stages import protect

[PERSON] = portraits.people(people=1)
ONCE = Effort(pairs=1, seconds=0, rounds=1)
COUNTS = [{"flops": 3e9}, {"flops": 2e9}]
FAST = Pair(part="x", name="a", wall=[(3, 2), (4, 2), (9, 1)], counts=COUNTS, goal=1.4)
SLOW = Pair(part="x", name="b", wall=[(1.2, 1)], counts=COUNTS, memory=[2_000_000, 10**6], goal=1.4)
LINE = Growth(part="y", name="protect", axis="people", at=[1, 2, 4], seconds=[0.5, 2, 8])
LATE = Figure(part="z", name="answer", values=[1, 3, 2], goal=1)


def test_a_ratio_stands_beside_its_goal_and_the_counted_one() -> None:
    assert FAST.ratio == 2 and FAST.counted == 1.5 and not FAST.missed and SLOW.missed
    assert FAST.row()[3:] == ["4 / 2 s", "2.00 x", ">= 1.4", "1.50", "133%", "-"]
    assert SLOW.row()[4:] == ["1.20 x", f">= 1.4 {MISSED}", "1.50", "80% <", "2 / 1"]


def test_growth_is_a_slope_and_a_figure_is_a_median() -> None:
    assert LINE.slope == pytest.approx(2)
    assert LINE.row()[1:5] == ["protect over people: 1, 2, 4", "-", "- / 0.5 ... 8 s", "slope 2.00"]
    assert LATE.missed and LATE.row()[4:6] == ["2 s", f"<= 1 {MISSED}"]


def test_records_come_back() -> None:
    for record in (FAST, SLOW, LINE, LATE):
        again = from_plain(json.loads(json.dumps(to_plain(record))))
        assert to_plain(again) == json.loads(json.dumps(to_plain(record)))
        assert again.row() == record.row()


def test_a_part_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "x.jsonl"
    book = Book(path, threads=1)
    book.add("first", [FAST, SLOW])
    book.add("second", [LINE])
    path.write_text(path.read_text()[:-20])  # killed while it wrote
    again = Book(path, threads=1)
    assert list(again.done) == ["first"] and [one.name for one in again.done["first"]] == ["a", "b"]
    again.add("third", [LATE])
    found = read(path)
    assert found is not None and list(found[1]) == ["first", "third"]
    assert Book(path, threads=1, anew=True).done == {}
    Book(path, threads=1).add("first", [FAST])
    assert Book(path, threads=2).done == {}
    Book(path, threads=2).add("first", [FAST])
    monkeypatch.setattr("diffshortcut.bench.book._source", lambda: "other")
    assert Book(path, threads=2).done == {}
    assert "threads: 2" in described(Book(path, threads=2).machine)


def test_one_table_and_one_plot_of_all_parts(tmp_path: Path, capsys: Any) -> None:
    Book(tmp_path / "x.jsonl", threads=1).add("both", [FAST, SLOW])
    Book(tmp_path / "y.jsonl", threads=1).add("growth", [LINE, LATE])
    overview.write(tmp_path, ["x", "y", "absent"])
    text = (tmp_path / "table.md").read_text()
    assert text.count("| x |") == 2 and "slope 2.00" in text and "* x: " in text
    assert "* goal missed: x: b" in text and "* goal missed: z: answer" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "bench.svg").read_text()
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_memory_is_what_a_run_makes_beside_what_is_there() -> None:
    kept = torch.zeros(1000)

    def run() -> None:
        kept.add_(1)
        for _ in range(3):
            (torch.zeros(500) + 1).sum()

    assert 2 * 500 * 4 <= most(run) < 3 * 500 * 4


def test_steps_are_timed_some_at_once() -> None:
    calls: list[int] = []
    side = Side.steps(lambda: calls.append(1), turns=4)
    assert isinstance(side.time(), Times) and len(calls) == 4
    [pair] = compare("x", "name", side, side, Effort(pairs=5, seconds=0), goal=2)
    assert len(pair.wall) == 5 and pair.counted is None and pair.row()[6:8] == ["-", "-"]


def test_the_look_at_the_objective_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protect, "HELD_OUT", 1)
    [found] = methods.of_attacks(PERSON, ONCE)[methods.CHECK]()
    assert isinstance(found, Figure) and found.value > 0


def test_every_part_has_its_jobs() -> None:
    assert set(methods.GOALS) <= {
        *methods.of_attacks(PERSON, ONCE),
        *methods.of_purifiers(PERSON, ONCE),
    }
    assert methods.WHOLE in methods.of_purifiers(PERSON, ONCE)
    assert training.STEP in training.jobs(PERSON, ONCE)
    assert len(sampling.jobs(PERSON, ONCE)) == len(sampling.CASES)
    assert set(start.jobs(PERSON, ONCE)) == {"cached answer", "first stage", "index", "plan"}
    trainer = training.default()
    assert training.settings(trainer).instance_batch == trainer.instance_batch == 4


def test_growth_is_planned_over_each_axis() -> None:
    def count(tasks: Any, stage: str) -> int:
        return sum(task.stage == stage for task in tasks)

    assert [count(growth.of_people(n), "protect") for n in (1, 2)] == [1, 2]
    some = growth.of_pictures(PERSON, 8)
    [protect] = [task for task in some if task.stage == "protect"]
    [generate] = [task for task in some if task.stage == "generate"]
    assert len(protect.person.set_B) == generate.config["sampler"]["images"] == 8
    sized = growth.of_size(PERSON, 64)
    assert {task.stage for task in sized} == {"prior", "protect", "purify", "personalize", "score"}
    assert {task.config.get("resolution", 64) for task in sized} == {64}
    arms = growth.of_arms(PERSON, len(growth.ARMS))
    assert count(arms, "protect") == 1 and count(arms, "personalize") == len(growth.ARMS) == 8


def test_the_main_job_is_composed_of_what_was_measured(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not measured yet"):
        main_job.composed(tmp_path)
    names = ["metacloak, round", "codeformer", methods.WHOLE, training.STEP, training.SURROGATE]
    names += [sampling.BOTH, sampling.CLASSES]
    pairs = [Pair(part="x", name=name, wall=[(3, 1)]) for name in names]
    encoded = Figure(part="x", name=f"{training.ENCODED}: 52", values=[10])
    check = Figure(part="x", name=methods.CHECK, values=[10])
    Book(tmp_path / "training.jsonl", threads=1).add("all", [*pairs, encoded, check])
    *stages, whole = main_job.composed(tmp_path)
    steps = 3 * config.compose([]).scale.dreambooth_steps
    trained = next(one for one in stages if one.name.startswith("training"))
    assert f"{steps} steps" in trained.name
    assert list(trained.wall[0]) == [3 * steps, steps + 3 * 10]
    assert whole.seconds(0) == pytest.approx(sum(one.seconds(0) for one in stages))
    assert whole.goal == 2 and not whole.missed


def test_finished_cells_are_answered_without_torch(tmp_path: Path) -> None:
    alone = ["attack=aspl", "purifier=jpeg", "compare.arms=[]", "compare.clean=null"]
    words = finished.words(tmp_path, *alone)
    finished.finish([words])
    assert processes.answered(processes.FIND, [words]) < 5
    assert processes.answered(processes.ANSWER, words) < 5
    with pytest.raises(RuntimeError, match="has imported torch"):
        processes.answered("import sys, torch; found = {'seconds': 0}", words)


def test_table_1_is_77_cells() -> None:
    jobs = finished.table1(Path("root"))
    assert len(jobs) == len(set(map(tuple, jobs))) == 77
    table = config.compose(["experiment=table1"], hydra=True)
    assert table.hydra.sweeper.params.attack == ",".join(finished.ATTACKS)
    named = [word for arm in table.compare.arms for word in arm.overrides if "purifier" in word]
    assert {*named[1:], "purifier=ours"} == {f"purifier={name}" for name in finished.PURIFIERS}


@pytest.mark.slow
def test_a_finished_grid_of_77_cells_is_answered_within_ten_seconds(tmp_path: Path) -> None:
    finished.finish(finished.table1(tmp_path))
    swept = [f"attack={','.join(finished.ATTACKS)}", f"purifier={','.join(finished.PURIFIERS)}"]
    alone = ["compare.arms=[]", "compare.clean=null"]
    words = ["-m", "hydra/launcher=graph", *finished.words(tmp_path, *swept, *alone)]
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert processes.seconds(processes.COMMAND, words) < 10
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
