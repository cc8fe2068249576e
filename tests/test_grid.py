"""A sweep as one graph: equal stages once, failures known, finished cells answered by the index."""

import io
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image
from rich.console import Console
from world import World

from diffshortcut import grid, launch, parallel, plan, progress, run
from diffshortcut.artifacts import past, sources
from diffshortcut.artifacts.artifact import MARKER
from diffshortcut.artifacts.store import Store
from diffshortcut.config import arms, catalog, config, sweep
from diffshortcut.cost import forecast
from diffshortcut.errors import UserError
from diffshortcut.graph import cells, execute
from diffshortcut.job import command, index
from diffshortcut.launch import board, cluster, merged
from diffshortcut.launch.announce import NotBegunError, announce
from diffshortcut.launch.record import Record
from diffshortcut.launch.worker import Outcome, Worker

ATTACKS, PURIFIERS = ("random", "pid", "advdm"), ("none", "jpeg", "gaussian", "[gaussian,jpeg]")
HERE = {"workers": 0, "confirm": False}


def jobs(
    world: World, attacks: Sequence[str], purifiers: Sequence[str] = PURIFIERS[:1]
) -> list[list[str]]:
    alone = ["compare.arms=[]", "compare.clean=null", "metric=ims", "data.people=2"]
    return [
        world.overrides(f"attack={attack}", f"purifier={purifier}", *alone)
        for attack in attacks
        for purifier in purifiers
    ]


def prepared(swept: list[list[str]], options: dict[str, Any] = HERE) -> merged.Grid:
    made = merged.Grid(run._show)
    made.prepare(swept, options)
    return made


def finish(world: World, monkeypatch: pytest.MonkeyPatch, *attacks: str) -> list[list[str]]:
    swept = jobs(world, attacks)
    monkeypatch.setattr(run, "_grid", prepared(swept))
    for job in swept:
        assert run.launch(job) == []
    return swept


def test_a_glob_is_the_options_that_are_like_it() -> None:
    found = [job for [job] in sweep.expand(["-m", "attack=glob(a*,exclude=as*)"]).jobs]
    assert found == ["attack=adaptive", "attack=advdm"]
    with pytest.raises(UserError, match=r"glob\(q\*\): no option of attack is like that"):
        sweep.expand(["-m", "attack=glob(q*)"])


def test_equal_stages_of_a_sweep_run_once(world: World) -> None:
    swept = jobs(world, ATTACKS, PURIFIERS)
    prepared(swept)
    count = {name: sum(stage == name for stage, _ in world.calls) for name in cells.STAGES}
    # the links of a chain are shared too: gaussian alone, and gaussian before jpeg
    links = 3 * 2 * 3
    assert count == {
        "prior": 1, "protect": 6, "purify": links, "personalize": 24, "generate": 24, "score": 24,
    }  # fmt: skip
    world.calls.clear()
    prepared(swept)
    assert world.calls == []


def test_jobs_of_a_sweep_compose_the_arms_that_they_share_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A radius or a purifier of the job's own does not make its clean arm another."""
    arms._composed.cache_clear()
    composed: list[Sequence[str]] = []
    compose = config.compose

    def counted(words: Sequence[str], **hydra: bool) -> Any:
        composed.append(words)
        return compose(words, **hydra)

    monkeypatch.setattr(config, "compose", counted)
    own = [
        arms.compose(["attack=pid", f"attack.radius={radius}", f"purifier={purifier}"])
        for radius in (4, 8)
        for purifier in PURIFIERS[1:3]
    ]
    assert [arm.config["attack"].get("radius") for arm in own[-1]] == [None, 8, 8]
    assert own[0][0] == own[-1][0] and own[0][1] != own[-1][1]
    assert len(composed) == 4 + 1 + 2, composed  # jobs, the clean arm, a protected one per radius


def test_jobs_do_not_try_again_what_the_graph_could_not_do(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any, capsys: Any
) -> None:
    world.failing = {("personalize", "bob")}
    swept = jobs(world, ("random",), PURIFIERS[:2])
    made = prepared(swept)
    monkeypatch.setattr(run, "_grid", made)
    world.calls.clear()
    for job in swept:
        failures = run.launch(job)
        assert {f.reason for f in failures} == {"it broke", "it needs a stage that failed"}
    assert world.calls == []
    made.finish()
    assert "not done: personalize bob" in caplog.text and "it broke" in caplog.text
    monkeypatch.setattr(sys, "argv", ["grid", "status", str(world.root / "store")])
    capsys.readouterr()
    grid.main()
    said = capsys.readouterr().out
    assert "not done: personalize bob" in said and "(2 jobs)" in said
    world.failing = set()
    prepared(swept)  # the same command tries them again
    assert {person for _, person in world.calls} == {"bob"}
    assert Record.of(swept, Store(world.root / "store")).failures == {}


def test_what_lies_behind_a_link_is_watched_too(tmp_path: Path) -> None:
    """Weights and people are often linked into their folders; a link may lead back."""
    (tmp_path / "kept" / "unet").mkdir(parents=True)
    (tmp_path / "kept" / "unet" / "w.bin").write_bytes(b"1")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "unet").symlink_to(tmp_path / "kept" / "unet")
    (tmp_path / "model" / "back").symlink_to(tmp_path / "model")
    found = [path.relative_to(tmp_path).as_posix() for path in index._tree(tmp_path / "model")]
    assert sorted(found) == ["model", "model/unet", "model/unet/w.bin"]


def test_the_status_of_a_place_without_a_readable_grid_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "store" / "grids" / "a"
    place.mkdir(parents=True)
    (place / grid.GRID).write_text('{"jobs": []}')
    monkeypatch.chdir(place)
    for name in (".", str(tmp_path)):
        monkeypatch.setattr(sys, "argv", ["grid", "status", name])
        with pytest.raises(SystemExit, match="not as this version writes it"):
            grid.main()


def test_the_status_names_what_a_grid_stopped_at(world: World) -> None:
    world.failing = {("personalize", "bob")}
    swept = [[*job, "runtime.fail_fast=true"] for job in jobs(world, ("random",))]
    with pytest.raises(RuntimeError, match="it broke"):
        prepared(swept)
    [failure] = Record.of(swept, Store(world.root / "store")).failures.values()
    assert failure["title"].startswith("personalize bob") and failure["reason"] == "it broke"
    assert "RuntimeError: it broke" in Path(failure["log"]).read_text()


def test_the_status_knows_a_failure_while_others_run(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """In this process, also after an interruption; what needs the failed stage is noted with it."""
    world.failing = {("protect", "ann")}
    [job] = jobs(world, ("random",), ["jpeg"])
    writes: list[int] = []
    write = Record.write_failures

    def counted(record: Record, failures: Sequence[cells.Failure]) -> None:
        writes.append(len(failures))
        write(record, failures)

    def look() -> None:
        assert writes == [1, 2, 4]  # ann's protection to pictures, each before bob's next
        raise KeyboardInterrupt

    monkeypatch.setattr(Record, "write_failures", counted)
    monkeypatch.setattr(run, "_grid", merged.Grid(run._show))
    world.during["generate"] = look
    with pytest.raises(KeyboardInterrupt):
        run.launch(job)
    capsys.readouterr()
    grid.show(grid._newest(world.root / "store"))
    said = capsys.readouterr().out
    assert "not done: protect ann" in said and "not done: personalize ann" in said


def test_a_failure_in_this_process_names_its_log(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Of a job alone and of a grid without Ray; what only needs the failed stage has none."""
    world.failing = {("personalize", "bob")}
    [job] = jobs(world, ("random",))
    monkeypatch.setattr(run, "_grid", merged.Grid(run._show))
    made = merged.Grid(run._show)

    def prepared_here() -> list[cells.Failure]:
        made.prepare([job], HERE)
        made.finish()
        return list(made.failures.values())

    for do in (lambda: run.launch(job), prepared_here):
        broken, *needing = [failure.log for failure in do()]
        assert broken and set(needing) == {None}
        text = broken.read_text()
        assert "personalize bob" in text and text.count("RuntimeError: it broke") == 1
        assert "score" not in text and [*broken.parent.iterdir()] == [broken]
        assert f"it broke ({broken})" in caplog.text
        broken.unlink()
        caplog.clear()


def test_workers_note_what_they_stop_at_and_name_its_log(world: World) -> None:
    from diffshortcut.launch.workers import _Run

    swept = jobs(world, ("random",))
    tasks = command.comparison(swept[0]).tasks
    store = Store(world.root / "store")
    record = Record.of(swept, store)
    record.folder.mkdir(parents=True)
    shown = board.Board(tasks, store)
    cluster: Any = SimpleNamespace(store=store)
    grid = _Run(tasks, cluster, {"fail_fast": True}, {"retries": 0}, shown, record)
    failure = cells.Failure(tasks[0], "it broke", Path("logs/a.log"))
    with pytest.raises(UserError, match=r"fail_fast: .*: it broke \(logs/a.log\)$"):
        grid._fail(failure)
    assert record.failures[tasks[0].key]["log"] == "logs/a.log"
    assert shown.states[tasks[0].key] == "failed"


def test_what_all_read_is_noted_with_them_in_one_go(tmp_path: Path) -> None:
    """When it fails: a note is a file that is written through."""
    from diffshortcut.launch.workers import _Run

    first = cells.Task(stage="prior", config={}, seed=0)
    reading = [
        cells.Task(stage="prior", config={}, seed=n, inputs={"x": first}) for n in range(1, 9)
    ]
    writes: list[int] = []
    record: Any = SimpleNamespace(write_failures=lambda failures: writes.append(len(failures)))
    shown = board.Board([first, *reading], Store(tmp_path))
    lost: Any = SimpleNamespace(
        store=Store(tmp_path),
        shapes=[({}, False)],
        workers=[None],
        has_light=False,
        idle=lambda: [],
        wait=lambda seconds: [cluster.Event(first.key, Outcome("it broke"))] if not writes else [],
    )
    grid = _Run([first, *reading], lost, {"fail_fast": False}, {"retries": 0}, shown, record)
    assert len(grid.all()) == 9 and writes == [9]
    assert set(shown.states.values()) == {"failed"}


def test_a_job_that_cannot_be_composed_stops_no_other(world: World) -> None:
    wrong = world.overrides("attack=nothing")
    made = prepared([wrong, *jobs(world, ("random",))])
    assert made.failures == {} and ("score", "ann") in world.calls
    with pytest.raises(Exception, match="nothing"):
        run.launch(wrong)


def test_a_job_whose_files_are_missing_stops_no_other(world: World) -> None:
    [missing] = jobs(world, ("pid",))
    made = prepared([[*missing, "surrogate=mini_c"], *jobs(world, ("random",))])
    assert made.failures == {} and ("score", "ann") in world.calls


def test_a_job_with_a_bad_value_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """It is judged before the work of the others begins, and said once more at the end."""

    def judge(node: Any, where: str) -> None:
        if isinstance(node, dict) and node.get("radius") == -1:
            raise UserError(f"{where}: radius must be at least 0")

    monkeypatch.setattr(config, "check_values", judge)
    [job] = jobs(world, ("random",))
    bad = [*job, "attack.radius=-1"]
    made = prepared([bad, job])
    assert made.failures == {} and world.calls.count(("score", "ann")) == 1
    made.finish()
    assert "attack.radius=-1: attack: radius must be at least 0" in caplog.text
    caplog.clear()
    made.prepare([job], HERE)
    made.finish()
    assert "not done" not in caplog.text


def test_a_job_whose_results_are_there_needs_no_stage(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = finish(world, monkeypatch, "random")
    shutil.rmtree(world.root / "store")  # the index too
    world.calls.clear()
    prepared(swept)
    assert world.calls == []
    monkeypatch.setenv(index.VERIFYING, "1")
    prepared(swept)
    assert world.calls


def test_batches_of_a_sweep_keep_what_failed(world: World, caplog: Any) -> None:
    world.failing = {("protect", "ann")}
    first, second = jobs(world, ("random",)), jobs(world, ("pid",))
    made = prepared(first)
    failed = set(made.failures)
    world.failing = set()
    made.prepare(second, HERE)
    assert failed and set(made.failures) == failed
    assert list(made._planned) == [tuple(job) for job in second]
    caplog.clear()
    made.finish()
    assert "not done" not in caplog.text  # of these jobs


def test_the_graph_is_not_for_processes_that_train_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # alone: some job scripts export it for themselves
    prepared(jobs(world, ("random",)))
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match="without accelerate launch"):
        prepared(jobs(world, ("random",)))


def test_a_changed_config_says_what_is_different(world: World, caplog: Any) -> None:
    swept = jobs(world, ("random",))
    prepared(swept)
    [record] = (world.root / "store" / "grids").iterdir()
    known = json.loads((record / "grid.json").read_text())
    place = next(p for p in known["places"] if json.loads(p)[-1] == "protect")
    old = {**known["tasks"][known["places"][place]], "config": {"attack": {"radius": 4}}}
    known["tasks"]["before"] = old
    known["places"][place] = "before"
    (record / "grid.json").write_text(json.dumps(known))
    caplog.clear()
    prepared(swept)
    assert "since this command last ran: protect: attack.radius: 4 -> 11" in caplog.text
    Image.new("RGB", (8, 8), "white").save(world.root / "people" / "ann" / "11.png")
    caplog.clear()
    prepared(swept)
    assert "last ran: source, weights or pictures of score" in caplog.text


def test_what_is_finished_stays_in_the_record(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """A resumed grid has less to do, but is about as much, and its finished jobs may change too."""
    swept = jobs(world, ("random", "pid"))
    world.failing = {("score", "bob")}
    monkeypatch.setattr(run, "_grid", prepared(swept))
    world.failing = set()
    assert run.launch([*swept[0]]) != []  # known to have failed
    monkeypatch.setattr(run, "_grid", prepared(swept[:1]))
    assert run.launch(swept[0]) == []  # one job is finished, and then the grid is resumed
    before = Record.of(swept, Store(world.root / "store")).content
    prepared(swept)
    after = Record.of(swept, Store(world.root / "store")).content
    assert after["places"] == before["places"] and after["tasks"] == before["tasks"]
    assert sorted(after["jobs"]) == sorted(before["jobs"]) and len(after["jobs"]) == 2
    Image.new("RGB", (8, 8), "white").save(world.root / "people" / "ann" / "11.png")
    caplog.clear()
    prepared(swept)
    assert "last ran: source, weights or pictures of score" in caplog.text
    changed = Record.of(swept, Store(world.root / "store")).content
    assert len(changed["places"]) == len(before["places"])
    assert set(changed["tasks"]) == set(changed["places"].values())  # the old ones are forgotten


def test_an_hour_of_work_is_asked_for_on_a_terminal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = jobs(world, ("random",))
    monkeypatch.setattr(past, "expected", lambda task, known: past.Took(1000.0, 1, 1))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda said: "n")
    with pytest.raises(UserError, match="not begun"):
        prepared(swept, {"workers": 0, "confirm": True})
    monkeypatch.setattr("builtins.input", _ended)
    with pytest.raises(UserError, match="not begun"):
        prepared(swept, {"workers": 0, "confirm": True})
    assert world.calls == []
    monkeypatch.setattr("builtins.input", lambda said: "y")
    prepared(swept, {"workers": 0, "confirm": True})
    assert world.calls


def test_a_single_job_is_a_grid_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any, capsys: Any
) -> None:
    """Said, asked for and known to the status; a job of a sweep is only said to be long."""
    caplog.set_level(logging.INFO)
    asked: list[str] = []
    answers = iter(["n", "y"])
    [job] = jobs(world, ("random",))
    monkeypatch.setattr(past, "expected", lambda task, known: past.Took(1000.0, 1, 1))
    monkeypatch.setattr("builtins.input", lambda said: asked.append(said) or next(answers))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(UserError, match="not begun"):
        run.launch(job, ask=True)
    assert asked and world.calls == [] and "stages to do, about 2.5 h" in caplog.text
    world.failing = {("personalize", "bob")}
    assert run.launch(job, ask=True) and len(asked) == 2
    monkeypatch.setattr(sys, "argv", ["grid", "status", str(world.root / "store")])
    capsys.readouterr()
    grid.main()
    said = capsys.readouterr().out
    assert "not done: personalize bob" in said and "(1 jobs)" in said
    world.failing = {("score", "bob")}
    with pytest.raises(RuntimeError, match="it broke"):
        run.launch([*job, "runtime.fail_fast=true"], ask=True)  # an hour no more
    [failure] = Record.of([[*job, "runtime.fail_fast=true"]], Store(world.root / "store")).failures
    assert len(asked) == 2


@pytest.mark.parametrize("silent", ["no terminal", "runtime.confirm=false", "a job of a sweep"])
def test_nobody_is_asked_where_nobody_is(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any, silent: str
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(past, "expected", lambda task, known: past.Took(1000.0, 1, 1))
    monkeypatch.setattr("builtins.input", lambda said: pytest.fail("asked"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: silent != "no terminal")
    [job] = jobs(world, ("random",))
    words = [*job, silent] if "=" in silent else job
    assert run.launch(words, ask=silent != "a job of a sweep") == []
    assert "stages to do, about 2.5 h" in caplog.text and world.calls


def test_the_first_job_of_a_sweep_is_asked_for_all(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(past, "expected", lambda task, known: past.Took(100.0, 1, 1))
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda said: asked.append(said) or "n")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setenv(sweep.JOBS, "40")
    [job] = jobs(world, ("random",))
    with pytest.raises(NotBegunError):
        run.launch(job, ask=True)
    assert len(asked) == 1 and world.calls == []
    assert "it is one of 40 jobs: if all are like it, 10.0 h" in caplog.text
    assert run.launch(job, ask=True) == [] and len(asked) == 1  # the others are not asked for


@pytest.mark.slow  # needs these launchers
@pytest.mark.parametrize("launcher", ["joblib", "submitit_slurm"])
def test_jobs_that_go_elsewhere_are_asked_for_before_they_do(
    world: World, launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(past, "expected", lambda task, known: past.Took(1000.0, 1, 1))
    monkeypatch.setattr("builtins.input", lambda said: asked.append(said) or "n")
    monkeypatch.setattr(run, "_app", lambda: pytest.fail("begun"))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    [together] = jobs(world, ("random,none",))
    monkeypatch.setattr(sys, "argv", ["run", "-m", f"hydra/launcher={launcher}", *together])
    with pytest.raises(SystemExit, match="not begun"):
        run.main()
    assert len(asked) == 1


def test_a_short_job_is_not_announced(world: World, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    [job] = jobs(world, ("random",))
    assert run.launch([*job, "debug=tiny", "data.people=1"], ask=True) == []
    assert "stages to do" not in caplog.text


def _ended(said: str) -> str:
    raise EOFError  # ^D


REAL = ["attack=none", "compare.arms=[]", "compare.clean=null", "metric=ims",
        "logger=none", "runtime.device=cpu", "runtime.threads=1"]  # fmt: skip


def test_what_has_never_run_is_estimated_and_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """On an empty store, by nothing but its operations and this machine's speed."""
    caplog.set_level(logging.INFO)
    asked: list[str] = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda said: asked.append(said) or "n")
    places = [f"runtime.store={tmp_path}/store", f"runtime.outputs={tmp_path}/outputs"]
    long = [*REAL, *places, "scale.dreambooth_steps=10000", "data.people=16"]
    with pytest.raises(UserError, match="not begun"):
        prepared([long], {"workers": 0, "confirm": True})
    assert asked == ["Begin? [y/N] "]
    [said] = [text for text in caplog.messages if "stages to do" in text]
    assert " h, 326.9 MB on the disk or more (" in said  # of 16 trained models
    assert "about ~ " in said and "told from their operations" in said
    assert not list((tmp_path / "store").glob("personalize/*"))
    short = command.comparison([*REAL, *places, "debug=tiny", "data.people=1"])
    announce(short.tasks, Store(tmp_path / "store"), short.runtime, ask=True)
    assert len(asked) == 1


def test_without_ray_the_extra_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'diffshortcut\[grid\]'"):
        prepared(jobs(world, ("random",)), {**HERE, "workers": None, "address": None})


def test_a_cluster_without_a_worker_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"workers": None, "light_gpu": 0, "address": None}
    store, record = Store(tmp_path), Record(tmp_path)
    with pytest.raises(UserError, match="hydra.launcher.workers=-1: "):
        cluster.Cluster(store, {"threads": 1}, {**options, "workers": -1}, record).__enter__()
    monkeypatch.setattr(cluster, "_begin", lambda options, threads: Starved())  # of one core
    with pytest.raises(UserError, match=r"the 2 cores .* runtime.threads, .*workers=1"):
        cluster.Cluster(store, {"threads": 2}, options, record).__enter__()


def test_all_jobs_share_one_store(world: World) -> None:
    other = world.overrides("runtime.threads=1")
    with pytest.raises(UserError, match="the same for all jobs"):
        prepared([*jobs(world, ("random",)), other])


def test_a_finished_sweep_is_answered_without_composing(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    swept = finish(world, monkeypatch, "random", "pid")
    first = capsys.readouterr().out
    monkeypatch.setattr(run, "_app", lambda: pytest.fail("composed"))
    words = [word for word in swept[0] if not word.startswith(("attack=", "purifier="))]
    chosen = ["attack=random,pid", "purifier=none"]
    monkeypatch.setattr(sys, "argv", ["run", "--multirun", *chosen, *words])
    run.main()
    assert capsys.readouterr().out == first
    start = time.process_time()
    assert all(index.find(list(reversed(job))) for job in swept)  # in any order of the words
    assert (time.process_time() - start) / len(swept) < 0.05


def test_the_claims_of_a_sweep_are_one_family(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever process a job runs; what it found alone is not shown as the sweep's."""
    monkeypatch.setenv(sweep.JOBS, "1")  # is put back
    claims = "compare.claims=[{metric: ims, arm: x, rivals: [clean, protected]}]"
    arm = (
        "compare.arms=[{name: clean, overrides: ['attack=none']}, {name: protected, overrides: []}"
    )
    arm += ", {name: x, overrides: ['sampler.images=3']}]"
    words = world.overrides("metric=ims", arm, claims, "attack=random")
    family = [arms.compose(words)[-1].config["compare"]["family"]]
    assert run.launch(words) == [] and index.find(words)
    sweep.tell_jobs(sweep.Sweep([[], [], []], True))
    family.append(arms.compose(words)[-1].config["compare"]["family"])
    assert family == [None, 3] and index.find(words) is None
    assert run.launch(words) == [] and index.find(words)
    assert len(list(world.root.glob("outputs/*/comparison.json"))) == 2


def test_what_sweeps_by_itself_is_answered_too(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    experiment = world.root / "my conf" / "experiment" / "two.yaml"
    experiment.parent.mkdir(parents=True)
    experiment.write_text(
        "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}\n"
    )
    alone = ["compare.arms=[]", "compare.clean=null", "metric=ims", "data.people=1"]
    search = f"hydra.searchpath=['file://{world.root / 'my conf'}']"
    for variable in (catalog.SEARCHPATH, sweep.NAME):
        monkeypatch.setenv(variable, "")  # is put back
    words = catalog.adopt([*world.overrides("attack=random", *alone), "experiment=two", search])
    assert search not in words and "two" in catalog.groups()["experiment"]
    assert catalog.adopted() == [search]  # as a command that is shown or kept has it
    for job in sweep.expand(words).jobs:
        assert run.launch(job) == []  # arms are composed with the folder too
    first = capsys.readouterr().out
    monkeypatch.setattr(run, "_app", lambda: pytest.fail("composed"))
    monkeypatch.setattr(sys, "argv", ["run", *words, search])
    run.main()
    assert capsys.readouterr().out == first and sweep.name()
    monkeypatch.setattr(parallel, "in_charge", lambda: False)
    run.main()
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="nowhere is no folder"):
        catalog.adopt(["hydra.searchpath=[file://nowhere]"])


@pytest.mark.parametrize("word", ["attack=glob(m*)", "hydra/sweeper=optuna"])
def test_a_sweep_of_another_kind_is_left_to_hydra(
    monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    for words in ([word], ["seed=0,1", "hydra.sweeper._target_=my.Sweeper"]):
        found = run._expanded(["--multirun", *words])
        assert found is None or not run._answered(found)


def _marker(entry: index.Entry) -> Path:
    return next(Path(file) for file in entry.files if file.endswith(MARKER))


def _touch(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b" ")


@pytest.mark.parametrize(
    "change",
    [
        lambda world, entry: _touch(world.root / "people" / "ann" / "00.png"),
        lambda world, entry: _touch(world.root / "weights" / "mini_a" / "model.safetensors"),
        lambda world, entry: (world.root / "people" / "cid").mkdir(),
        lambda world, entry: _touch(Path(entry.folder) / "table.txt"),
        lambda world, entry: _touch(_marker(entry)),
        lambda world, entry: _marker(entry).unlink(),
    ],
    ids=["picture", "weights", "person", "table", "marker", "no marker"],
)
def test_what_is_touched_is_not_answered(
    world: World, monkeypatch: pytest.MonkeyPatch, change: Callable[[World, index.Entry], object]
) -> None:
    [job, *_] = finish(world, monkeypatch, "random")
    entry = index.find(job)
    assert entry
    change(world, entry)
    assert index.find(job) is None


@pytest.fixture
def new_process() -> Iterator[Callable[[], None]]:
    """Forgets what this process has read of the config and the source."""
    yield index._first_read.cache_clear
    index._first_read.cache_clear()


@pytest.mark.parametrize("part", ["_conf", "_source"])
def test_another_config_or_source_is_not_answered(
    world: World, monkeypatch: pytest.MonkeyPatch, new_process: Callable[[], None], part: str
) -> None:
    [job, *_] = finish(world, monkeypatch, "random")
    assert index.find(job) and not index.find([*job, "seed=1"])
    with monkeypatch.context() as changed:
        changed.setattr(index, part, lambda *_: "other")
        assert index.find(job)  # what this process has read
        new_process()
        assert index.find(job) is None
    new_process()
    assert index.find(job)
    with monkeypatch.context() as changed:
        changed.setenv("DIFFSHORTCUT_PLUGINS", "outside")
        assert index.find(job) is None
    monkeypatch.chdir(world.root)  # where the words may mean other files
    assert index.find(job) is None


def test_the_folder_of_photos_is_watched_however_it_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(world.root))
    words = [w for w in world.overrides("attack=random") if not w.startswith("data.root=")]
    alone = ["compare.arms=[]", "compare.clean=null", "metric=ims"]
    job = [*words, "data.root='~/people'", *alone]
    assert run.launch(job) == []
    assert index.find(job)
    Image.new("RGB", (8, 8)).save(world.root / "people" / "ann" / "00a.png")
    assert index.find(job) is None


def test_a_photo_that_was_added_meanwhile_is_not_passed_over(world: World) -> None:
    alone = ["attack=random", "compare.arms=[]", "compare.clean=null", "metric=ims"]
    added = world.root / "people" / "ann" / "00a.png"
    world.during["score"] = lambda: Image.new("RGB", (8, 8)).save(added)
    assert world.launch(*alone) == []
    assert index.find(world.overrides(*alone)) is None
    assert world.launch(*alone) == [] and ("protect", "ann") in world.calls
    assert index.find(world.overrides(*alone))


def test_a_picture_of_equal_size_and_time_is_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job, *_] = finish(world, monkeypatch, "random")
    picture = world.root / "people" / "ann" / "00.png"
    state, content = picture.stat(), picture.read_bytes()
    assert index.find(job)
    picture.write_bytes(content[::-1])
    os.utime(picture, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert index.find(job) is None


@pytest.mark.parametrize(
    "change",
    [{"files": [1]}, {"files": {"x": None}}, {"files": {}}, {"folder": 3}, {"folder": "gone"}],
    ids=str,
)
def test_an_entry_of_another_form_is_no_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    [job, *_] = finish(world, monkeypatch, "random")
    place = index._place(job)
    assert place and index.find(job)
    place.write_text(json.dumps({**json.loads(place.read_text()), **change}))
    assert index.find(job) is None


def test_an_entry_too_deep_to_read_is_no_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job, *_] = finish(world, monkeypatch, "random")
    place = index._place(job)
    assert place
    place.write_text("[" * 100_000)
    assert index.find(job) is None


def test_a_home_is_meant_by_its_sign(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(world.root))
    monkeypatch.chdir(world.root)
    words = [w for w in world.overrides("attack=random") if not w.startswith("runtime.")]
    job = [*words, "runtime.store='~/kept'", "runtime.outputs='~/shown'", "compare.arms=[]"]
    assert run.launch(job) == []
    assert index.find(job) and (world.root / "shown").is_dir() and not Path("~").exists()


@pytest.mark.parametrize("part", ["_conf", "_source"])
def test_a_config_or_source_that_has_changed_meanwhile_is_not_noted(
    world: World, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    [job] = jobs(world, ("random",))
    index.find(job)
    monkeypatch.setattr(index, part, lambda *_: "other")
    assert run.launch(job) == []
    assert index.find(job) is None


def test_the_place_of_an_entry_holds_all_that_the_words_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = index._place
    assert place(["data.root=${oc.env:PHOTOS}"]) is None
    assert place(["attack.radius=4", "++attack.radius=8"]) != place(
        ["++attack.radius=8", "attack.radius=4"]
    )
    assert place(["attack={radius: 4}", "attack.radius=8"]) != place(
        ["attack.radius=8", "attack={radius: 4}"]
    )
    assert place(["attack=aspl", "attack.radius=4"]) == place(["attack.radius=4", "attack=aspl"])
    assert place(["++runtime.store='a b'"]).parent == Path("a b/index")
    before = place(["attack=aspl"])
    for name in ("DIFFSHORTCUT_PLUGINS", "DIFFSHORTCUT_WEIGHTS", "XDG_CACHE_HOME"):
        with monkeypatch.context() as changed:
            changed.setenv(name, "elsewhere")
            assert place(["attack=aspl"]) != before
    monkeypatch.setattr(index, "_variables", lambda roots: ("PHOTOS",))  # what a yaml reads
    monkeypatch.setenv("PHOTOS", "here")
    assert place(["attack=aspl"]) != before


def test_verify_looks_at_the_content(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    [job, *_] = finish(world, monkeypatch, "random")
    monkeypatch.setattr(run, "_grid", merged.Grid(run._show))
    rows = next((world.root / "store" / "score").glob("*/rows.jsonl"))
    rows.write_bytes(rows.read_bytes()[::-1])  # the marker is as it was
    world.calls.clear()
    run.launch(job)
    assert world.calls == []
    monkeypatch.setenv(index.VERIFYING, "1")
    run.launch(job)
    assert [stage for stage, _ in world.calls] == ["score"]


@pytest.mark.parametrize(
    "words",
    [["attack.radius=range(0,1e9)"], ["seed=range(0,1e9),3"], ["seed=range(400)", "a=range(400)"]],
)
def test_more_jobs_than_anybody_can_mean_are_not_listed(words: list[str]) -> None:
    with pytest.raises(UserError, match="jobs: 100000 are the most"):
        sweep.expand(["-m", "attack=random", *words])


def test_the_plan_of_a_sweep(world: World, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    swept = finish(world, monkeypatch, "random")
    words = [word for word in swept[0] if not word.startswith(("attack=", "purifier="))]
    asked = ["attack=random,pid", *words, "purifier=none"]
    monkeypatch.setattr(sys, "argv", ["plan", "--quick", "-m", *asked])
    capsys.readouterr()
    plan.main()
    said = capsys.readouterr().out
    assert "jobs: 2 | finished: 1" in said
    trained = next(line for line in said.splitlines() if "personalize" in line)
    assert [cell.strip() for cell in trained.split("│")][3:5] == ["2", "2"]
    monkeypatch.setenv(index.VERIFYING, "")  # is put back
    sys.argv.append("--verify")
    plan.main()
    assert "jobs: 2 | finished: 0" in capsys.readouterr().out


def test_the_plan_of_a_finished_sweep_looks_at_the_disk_of_its_store(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    swept = finish(world, monkeypatch, "random", "pid")
    words = [word for word in swept[0] if not word.startswith("attack=")]
    looked: list[Path] = []
    monkeypatch.setattr(forecast, "free", lambda store: looked.append(store) or 10**12)
    monkeypatch.setattr(sys, "argv", ["plan", "-m", "attack=random,pid", *words])
    plan.main()
    said = capsys.readouterr().out
    assert "jobs: 2 | finished: 2" in said and "nothing to do: every stage is there" in said
    assert looked == [world.root / "store"]


def test_jobs_are_those_that_hydra_launches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch.register()
    assert sweep.expand(["attack=aspl", "hydra.verbose=true"]) == sweep.Sweep(
        [["attack=aspl"]], False
    )
    found = sweep.expand(["-m", "attack=aspl,pid", "hydra/launcher=graph", "seed=range(2)"])
    assert found.many and [" ".join(job) for job in found.jobs] == [
        "attack=aspl seed=0", "attack=aspl seed=1", "attack=pid seed=0", "attack=pid seed=1",
    ]  # fmt: skip
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "whole.yaml").write_text(
        "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {attack: 'aspl,pid'}}}\n"
    )
    monkeypatch.setenv(catalog.SEARCHPATH, str(tmp_path))
    assert sweep.expand(["experiment=whole"]).jobs == [
        ["attack=aspl", "experiment=whole"], ["attack=pid", "experiment=whole"],
    ]  # fmt: skip


def test_lines_tell_of_every_stage_without_a_terminal(world: World, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    prepared(jobs(world, ("random",)))
    lines = [r.message for r in caplog.records if r.name == board.__name__]
    assert len(lines) == 9 and lines[0].startswith("1 of 9: prior ") and "(done, " in lines[0]


@pytest.mark.parametrize(("people", "said"), [("2", 9), ("1", 0)])
def test_a_job_of_several_cells_tells_of_them_as_a_grid_does(
    world: World, people: str, said: int, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    [job] = jobs(world, ("random",))
    assert run.launch([*job, f"data.people={people}"]) == []
    assert len([r for r in caplog.records if r.name == board.__name__]) == said


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a terminal has been sent."""
    sent = io.StringIO()
    terminal = Console(file=sent, force_terminal=True, width=100)
    for module in (board, progress):
        monkeypatch.setattr(module, "console", lambda: terminal)
    progress._progress.cache_clear()
    yield sent
    progress._progress.cache_clear()


def test_a_live_table_shows_the_states_on_a_terminal(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any, screen: io.StringIO
) -> None:
    """From entering until leaving; a bar within it is no error, and nothing is said in lines."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(board, "INTERVAL", 0.02)
    tasks = command.comparison(jobs(world, ("random",))[0]).tasks

    def shown() -> str:
        text = screen.getvalue()
        screen.truncate(0)
        screen.seek(0)
        return text

    def soon(said: str) -> bool:
        shown()
        return any(said in shown() or time.sleep(0.02) for _ in range(500))

    with board.Board(tasks, Store(world.root / "store")) as live:
        assert f"0 of {len(tasks)}" in shown()
        for state, ended in (("running", 0), ("done", 1)):
            live.tell(tasks[0], state)
            assert soon(f"{ended} of {len(tasks)}")
        assert list(progress.track([1, 2], "steps")) == [1, 2]
        for _ in progress.track([1], "more steps"):
            assert soon("more steps")
    assert f"1 of {len(tasks)}" in shown()
    board.console().print("afterwards")
    assert shown().strip() == "afterwards"  # nothing is drawn anew
    assert not [r for r in caplog.records if r.name == board.__name__]


def test_a_live_table_is_made_now_and_then_and_shows_how_it_ended(
    world: World, monkeypatch: pytest.MonkeyPatch, screen: io.StringIO
) -> None:
    """Each one looks at every task."""
    made: list[str] = []
    sheet = board.sheet
    monkeypatch.setattr(board, "sheet", lambda title, *a: made.append(title) or sheet(title, *a))
    monkeypatch.setattr(board, "INTERVAL", 1000.0)
    tasks = command.comparison(jobs(world, ("random",))[0]).tasks
    with board.Board(tasks, Store(world.root / "store")) as live:
        for task in tasks:
            for state in ("running", "waiting", "running", "failed"):
                live.tell(task, state)
            list(progress.track([1], "steps"))
    assert made == [f"0 of {len(tasks)}", f"{len(tasks)} of {len(tasks)}"]
    assert made[-1] in screen.getvalue()


@pytest.mark.parametrize(("stage", "part"), [("protect", "attack"), ("personalize", "trainer")])
def test_memory_that_runs_out_halves_the_micro_batch(
    world: World, monkeypatch: pytest.MonkeyPatch, stage: str, part: str
) -> None:
    seen: list[int | None] = []

    def starve(**given: Any) -> dict[str, Any]:
        size = given["config"][part]["micro_batch"]
        seen.append(size)
        if size is None or size > 1:
            raise MemoryError
        return world.do(stage, **given)

    monkeypatch.setattr(sys.modules[f"diffshortcut.stages.{stage}"], "run", starve)
    [job] = jobs(world, ("pid",))
    comparison = command.comparison([*job, "trainer.instance_batch=3"])
    tasks = cells.merge(cell for _, _, cell in comparison)
    store = Store(world.root / "store")
    assert execute.run(tasks, store=store, runtime=comparison.runtime) == []
    ann = next(task for task in tasks if task.stage == stage)
    # of four pictures; of three images of the person and one of the class
    assert seen == [None, 2, 1, None, 2, 1]
    told = store.provenance(stage, ann.key)
    assert told["out_of_memory"] == [4, 2] and told["config"][part]["micro_batch"] == 1
    assert execute.with_micro_batch(ann, 1).key == ann.key


class Starved:
    """A Ray of one worker in this process; the memory monitor kills `kills` of its attacks."""

    class exceptions:  # noqa: N801
        RayError = type("RayError", (Exception,), {})
        RayTaskError = type("RayTaskError", (RayError,), {})
        OutOfMemoryError = type("OutOfMemoryError", (RayError,), {})

    def __init__(self, kills: int = 1) -> None:
        self.kills = kills
        self.given: list[tuple[str, tuple[int, ...]]] = []  # stage, sizes for which memory ran out

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 1.0}}]

    def remote(self, kind: type[Worker]) -> Any:
        def start(folder: str, environment: dict[str, str], store: str, runtime: Any) -> Any:
            self.environment = environment
            worker = object.__new__(kind)  # __init__ is for a process of its own
            worker.store, worker.runtime = Path(store), runtime
            calls = {name: partial(partial, getattr(worker, name)) for name in ("ready", "do")}
            return SimpleNamespace(**{k: SimpleNamespace(remote=call) for k, call in calls.items()})

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=start))

    def wait(self, calls: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return calls[:1], calls[1:]

    def get(self, call: Any) -> Any:
        if call.func.__name__ == "do":
            task, too_large, _ = call.args
            self.given.append((task.stage, too_large))
            if task.stage == "protect" and self.kills:
                self.kills -= 1
                raise self.exceptions.OutOfMemoryError("Task was killed due to the node ...")
        return call()

    def shutdown(self) -> None: ...


def test_a_worker_killed_for_want_of_memory_is_followed_by_a_smaller_try(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as it can be halved: only what does not shrink it is one of the retries."""
    ray = Starved(kills=3)
    monkeypatch.setattr(cluster, "_begin", lambda options, threads: ray)
    where = {"DIFFSHORTCUT_WEIGHTS": str(world.root), "XDG_CACHE_HOME": str(world.root / "cache")}
    for name, folder in where.items():
        monkeypatch.setenv(name, folder)
    [job] = jobs(world, ("pid",))
    one = [*job, "data.people=1", "runtime.threads=1"]
    options = {"workers": None, "light_gpu": 0, "address": None, "retries": 1, "confirm": False}
    assert prepared([one], options).failures == {}
    tried = [size for stage, size in ray.given if stage == "protect"]
    assert tried == [(), (4,), (4, 2), (4, 2)]
    [ann] = [task for task in command.comparison(one).tasks if task.stage == "protect"]
    told = Store(world.root / "store").provenance("protect", ann.key)
    assert told["out_of_memory"] == [4, 2] and told["config"]["attack"]["micro_batch"] == 1
    assert ray.given.count(("score", ())) == 1
    assert where.items() <= ray.environment.items()  # so it looks for weights in the same place


def test_a_worker_that_is_killed_however_little_it_takes_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_begin", lambda options, threads: Starved(kills=99))
    [job] = jobs(world, ("pid",))
    one = [*job, "data.people=1", "runtime.threads=1"]
    options = {"workers": None, "light_gpu": 0, "address": None, "retries": 1, "confirm": False}
    reasons = [failure.reason for failure in prepared([one], options).failures.values()]
    assert reasons[0] == "its worker died 4 times, killed for want of memory"


class BadNode(Starved):
    """Two workers, of which all but the first `good` starts fail; these go before all else."""

    def __init__(self, good: int) -> None:
        super().__init__(kills=0)
        self.good, self.starts = good, 0

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 1.0}}] * 2

    def wait(self, calls: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return sorted(calls, key=lambda call: call.func.__name__ != "ready")[:1], []

    def get(self, call: Any) -> Any:
        if call.func.__name__ == "ready":
            self.starts += 1
            if self.starts > self.good:
                raise self.exceptions.RayError("a traceback\nNo module named 'diffshortcut'\n")
        return super().get(call)


ON_RAY = {"workers": None, "light_gpu": 0, "address": None, "retries": 1, "confirm": False}


@pytest.mark.parametrize(("pause", "starts", "left"), [(0.0, 4, 1), (60.0, 2, 2)])
def test_a_node_where_no_worker_starts_stops_no_other(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
    pause: float,
    starts: int,
    left: int,
) -> None:
    """It is tried a few times, not without a pause; then the others share the work."""
    ray = BadNode(good=1)
    monkeypatch.setattr(cluster, "PAUSE", pause)
    monkeypatch.setattr(cluster, "_begin", lambda options, threads: ray)
    swept = [[*jobs(world, ("random",))[0], "runtime.threads=1"]]
    assert prepared(swept, ON_RAY).failures == {} and ray.starts == starts
    assert Record.of(swept, Store(world.root / "store")).content.get("workers", 1) == left
    why = "a worker does not start and is given up, 1 are left: No module named 'diffshortcut'"
    assert (why in caplog.messages) is (left == 1)


def test_a_node_with_another_version_gets_nothing_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Its stages would fail, and fail fast: it would draw all work to itself."""
    ray, read = BadNode(good=99), sources.digest
    killed: list[Any] = []
    monkeypatch.setattr(ray, "kill", killed.append, raising=False)
    monkeypatch.setattr(cluster, "PAUSE", 0.0)
    monkeypatch.setattr(cluster, "_begin", lambda options, threads: ray)
    ready = Worker.ready

    def other(worker: Worker, modules: Sequence[str]) -> tuple[str, str]:
        node, source = ready(worker, modules)
        assert source == read(modules) and "diffshortcut.stages.protect" in modules
        return node, source if ray.starts == 1 else f"other than {source}"

    monkeypatch.setattr(Worker, "ready", wraps(ready)(other))
    one = [*jobs(world, ("random",))[0], "runtime.threads=1"]
    assert prepared([one], ON_RAY).failures == {} and len(killed) == 3
    [said] = [line for line in caplog.messages if "is given up" in line]
    assert said.endswith(" has another version of diffshortcut or of a plug-in")


def test_without_any_worker_a_grid_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PAUSE", 0.0)
    monkeypatch.setattr(cluster, "_begin", lambda options, threads: BadNode(good=0))
    one = [*jobs(world, ("random",))[0], "runtime.threads=1"]
    with pytest.raises(UserError, match="no worker starts: No module named 'diffshortcut'"):
        prepared([one], ON_RAY)


def test_the_signal_to_end_is_ours_beside_ray_and_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray takes it when it begins, and leaves it to nobody when it ends."""

    def takes(*_: Any, **__: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    ray = SimpleNamespace(init=takes, shutdown=takes, nodes=list)
    monkeypatch.setitem(sys.modules, "ray", ray)
    for name in ("LOCAL", "QUIET"):
        monkeypatch.setattr(cluster, name, {})
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for address in (None, "auto"):
            cluster._begin({"workers": 1, "address": address}, 1)
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
            made = cluster.Cluster(Store(tmp_path), {}, {}, Record(tmp_path))
            made._ray = cast(ModuleType, ray)
            made.__exit__()
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        made.options, made.runtime = {"workers": 0, "address": None}, {"threads": 1}
        with pytest.raises(UserError, match="no machine has"):
            made.__enter__()
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_workers_fit_the_cluster() -> None:
    from diffshortcut.launch.cluster import shapes

    def node(**resources: float) -> dict[str, Any]:
        return {"Alive": True, "Resources": resources}

    options = {"workers": None, "light_gpu": 0.25}
    dead = {"Alive": False, "Resources": {"CPU": 64.0}}
    assert (
        shapes([node(CPU=5.0), node(CPU=2.0), dead], options, 2) == [({"num_cpus": 2}, False)] * 3
    )
    cards = shapes([node(CPU=8.0, GPU=2.0)], options, 2)
    assert [shape["num_gpus"] for shape, _ in cards] == [0.75, 0.75, 0.25, 0.25]
    assert [light for _, light in cards] == [False, False, True, True]
    whole = shapes([node(CPU=8.0, GPU=2.0)], {"workers": 1, "light_gpu": 0}, 2)
    assert [shape["num_gpus"] for shape, _ in whole] == [1]
    assert shapes([node(CPU=1.0)], options, 2) == []


def test_an_error_around_a_stage_is_told_and_its_worker_stays(tmp_path: Path) -> None:
    from diffshortcut.launch.cluster import Cluster, Resident, _Call

    class RayError(Exception): ...

    class RayTaskError(RayError): ...

    class OutOfMemoryError(RayError): ...

    def get(reference: str) -> None:
        raise RayTaskError("ray::Worker.do()\n  File ...\nPermissionError: no log here\n")

    kinds = [RayError, RayTaskError, OutOfMemoryError]
    exceptions = SimpleNamespace(**{kind.__name__: kind for kind in kinds})
    ray = SimpleNamespace(wait=lambda calls, **_: (calls, []), get=get, exceptions=exceptions)
    made = Cluster(Store(tmp_path), {}, {}, Record(tmp_path))
    worker = Resident(None, {}, False)
    made.workers, made._ray = [worker], ray
    made._calls = {"x": _Call(worker, cells.Task(stage="prior", config={}, seed=0))}
    [event] = made.wait(0)
    assert event.outcome and event.outcome.reason == "PermissionError: no log here"
    assert made.idle() == [worker]


def test_the_status_shares_the_time_left_among_the_workers(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    swept = jobs(world, ("random",))
    prepared(swept)
    record = Record.of(swept, Store(world.root / "store"))
    shutil.rmtree(world.root / "store" / "score")
    record.write_workers(4)
    monkeypatch.setattr(past, "expected", lambda task, known: past.Took(40.0, 1, 1))
    capsys.readouterr()
    grid.show(Record(record.folder))
    said = capsys.readouterr().out
    assert "stages (1 jobs)" in said and "20 s" in next(
        s for s in said.splitlines() if "score" in s
    )


def test_light_stages_have_no_model(world: World) -> None:
    from diffshortcut.launch.ready import is_light, kind

    [job] = jobs(world, ("pid",), ["jpeg"])
    cell = command.comparison(job).cells["pid+jpeg"]["ann"]
    light = {name for name, task in cell.items() if is_light(task)}
    assert light == {"purify.jpeg", "score.ims"}
    assert kind(cell["personalize"]) == ("personalize", "mini:mini_a")
    metric = {"clip": "mini:clip", "sampler": {"model": "mini:mini_a"}}  # as of metric=shortcut
    assert not is_light(replace(cell["score.ims"], config={"metric": metric}))


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        ("CUDA error: an illegal memory access was encountered", True),
        ("CUDA error: out of memory", False),
        ("a wrong shape", False),
    ],
)
def test_a_worker_that_has_lost_its_gpu_ends(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, ends: bool
) -> None:
    """Every later call would fail too: it would fail whatever the grid gives it."""

    def lose(*_: object) -> None:
        raise RuntimeError(said)

    def end(code: int) -> None:
        raise SystemExit(code)

    [job] = jobs(world, ("pid",), ["jpeg"])
    task = command.comparison(job).cells["pid+jpeg"]["ann"]["purify.jpeg"]
    monkeypatch.setattr(execute, "do", lose)
    monkeypatch.setattr(os, "_exit", end)
    worker = Worker(os.getcwd(), {}, str(tmp_path), {})
    if ends:
        with pytest.raises(SystemExit, match="1"):
            worker.do(task, (), tmp_path / "log")
    else:
        assert worker.do(task, (), tmp_path / "log").reason == said
    assert said in (tmp_path / "log").read_text()
