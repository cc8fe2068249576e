"""A trained model larger than runtime.largest_kept goes once all that reads it is done."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from world import World

from diffshortcut import export, grid, parallel, plan, run
from diffshortcut.artifacts import store as artifacts
from diffshortcut.artifacts.artifact import MARKER
from diffshortcut.artifacts.store import EVICTED, Store
from diffshortcut.config import sweep
from diffshortcut.cost import forecast
from diffshortcut.errors import UserError
from diffshortcut.graph import cells, evict, execute
from diffshortcut.graph.cells import Task
from diffshortcut.job import command, index
from diffshortcut.job.results import Comparison
from diffshortcut.launch import board, merged, workers
from diffshortcut.launch.record import Record
from diffshortcut.report import tracked

SMALL = "runtime.largest_kept=0"  # what the stand-ins write is larger
ALONE = ("data.people=2", "compare.arms=[]", "compare.clean=null")
ALL = "runtime.largest_kept=null"


def models(world: World) -> list[Path]:
    return sorted((world.root / "store" / "personalize").glob("*"))


def trainings(world: World) -> int:
    return sum(stage == "personalize" for stage, _ in world.calls)


def test_a_model_goes_with_its_last_reader_and_its_marker_stays(world: World) -> None:
    there = []
    world.during = {"score": lambda: there.append(len(models(world)))}
    assert world.launch("attack=aspl", SMALL) == []
    assert there == [0]  # before the first score
    kept = list((world.root / "store" / EVICTED / "personalize").glob(f"*/{MARKER}"))
    assert len(kept) == trainings(world) == 2
    assert all(json.loads(marker.read_text())["provenance"]["bytes"] > 0 for marker in kept)


def test_models_that_are_small_stay(world: World) -> None:
    world.launch("attack=aspl")
    assert len(models(world)) == trainings(world) == 2


@pytest.mark.parametrize("attack", ["aspl", "fsmg"])  # which trains a surrogate
def test_one_model_is_there_at_once(world: World, attack: str) -> None:
    """Readers follow their model: the next is trained when the last one is gone."""
    seen: list[int] = []

    def look() -> None:
        seen.append(len(models(world)))
        world.during["personalize"] = look

    world.during = {"personalize": look}
    world.launch(f"attack={attack}", "data.people=2", SMALL)
    assert set(seen) == {0} and len(seen) == trainings(world) > 2


def test_what_is_done_needs_no_model(world: World) -> None:
    world.launch("attack=aspl", SMALL)
    world.launch("attack=aspl", SMALL, "compare.clean=null")  # other results of the same stages
    assert world.calls == []


@pytest.mark.parametrize("words", [("sampler.steps=7", SMALL), (ALL,)])
def test_who_misses_a_model_trains_it_again(world: World, words: tuple[str, ...]) -> None:
    world.launch("attack=aspl", *ALONE, SMALL)
    assert models(world) == []
    world.launch("attack=aspl", *ALONE, *words)
    assert trainings(world) == 2
    assert len(models(world)) == (2 if ALL in words else 0)


def test_a_model_waits_for_a_reader_that_failed(world: World) -> None:
    world.failing = {("generate", "ann")}
    assert world.launch("attack=aspl", *ALONE, SMALL)
    assert len(models(world)) == 1
    world.failing = set()
    assert world.launch("attack=aspl", *ALONE, SMALL) == []
    assert trainings(world) == 0 and models(world) == []


def test_a_surrogate_goes_too(world: World) -> None:
    world.launch("attack=fsmg", *ALONE, SMALL)
    assert trainings(world) == 4 and models(world) == []


def test_a_model_that_another_command_has_evicted_is_made_again(world: World) -> None:
    comparison = command.comparison(world.overrides(*ALONE, SMALL))
    store, runtime = Store(world.root / "store"), comparison.runtime
    generate = next(task for task in comparison.tasks if task.stage == "generate")
    model = generate.inputs["model"]
    execute.run([*model.ancestry()], store=store, runtime=runtime)
    store.evict(model.stage, model.key)
    world.calls.clear()
    execute.do(generate, store, runtime)
    assert [stage for stage, _ in world.calls] == ["personalize", "generate"]


def planned(world: World, *words: str) -> tuple[Comparison, Store]:
    found = command.comparison(world.overrides("attack=none", *ALONE, SMALL, *words))
    return found, Store(world.root / "store")


def reader_of(tasks: Sequence[Task]) -> tuple[Task, Task]:
    """The first that generates, and its model."""
    generate = next(task for task in tasks if task.stage == "generate")
    return generate, generate.inputs["model"]


def test_a_model_is_not_trained_for_what_another_command_has_done(world: World) -> None:
    found, store = planned(world)

    def other_command(task: Task, state: str) -> None:
        if (task.stage, state) == ("protect", "done"):
            execute.run(found.tasks, store=store, runtime=found.runtime)

    execute.run(found.tasks, store=store, runtime=found.runtime, observe=other_command)
    assert trainings(world) == 2 and models(world) == []


def test_workers_train_no_model_for_what_another_command_has_done(world: World) -> None:
    found, store = planned(world)
    _, model = reader_of(found.tasks)
    given: list[Task] = []
    cluster: Any = SimpleNamespace(
        store=store,
        has_light=False,
        idle=lambda: [SimpleNamespace(light=False, kind=())],
        give=lambda worker, task, too_large: given.append(task),
    )
    shown, record = board.Board(found.tasks, store), Record.of([], store)
    made = workers._Run(found.tasks, cluster, found.runtime, {"retries": 0}, shown, record)
    execute.run(found.tasks, store=store, runtime=found.runtime)
    made.ready.add(model)
    made.graph = SimpleNamespace(done=lambda key: None)  # type: ignore[assignment]
    made._feed()
    assert given == [] and shown.states[model.key] == "done"


def test_no_model_is_trained_for_an_artifact_that_is_there(world: World) -> None:
    """Another command has made it, and evicted the model, since this one looked."""
    found, store = planned(world)
    execute.run(found.tasks, store=store, runtime=found.runtime)
    world.calls.clear()
    execute.do(reader_of(found.tasks)[0], store, found.runtime)
    assert world.calls == []


def test_a_model_that_is_evicted_while_it_is_read_is_made_again(world: World) -> None:
    found, store = planned(world)
    generate, model = reader_of(found.tasks)
    execute.run([*model.ancestry()], store=store, runtime=found.runtime)

    def by_another_command() -> None:
        store.evict(model.stage, model.key)
        raise FileNotFoundError(store.path(model.stage, model.key))

    world.calls.clear()
    world.during = {"generate": by_another_command}
    execute.do(generate, store, found.runtime)
    assert [stage for stage, _ in world.calls] == ["generate", "personalize", "generate"]


def test_a_model_that_processes_train_again_together_ends_all_if_it_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait for the one in charge in the middle of it."""
    found, store = planned(world)
    generate, model = reader_of(found.tasks)
    execute.run([*model.ancestry()], store=store, runtime=found.runtime)
    monkeypatch.setattr(parallel, "together", lambda stage: stage == "personalize")
    world.failing = {("personalize", "ann")}

    def other_command(task: Task, state: str) -> None:
        store.evict(model.stage, model.key)

    with pytest.raises(RuntimeError, match="it broke"):
        execute.run([generate], store=store, runtime=found.runtime, observe=other_command)


def test_two_commands_evict_a_model_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(folder: Path, pattern: str) -> list[Path]:
        files = [*listed(folder, pattern)]
        if folder.parent.name == "personalize":
            shutil.rmtree(folder)
        return files

    found, store = planned(world)
    generate, model = reader_of(found.tasks)
    execute.run(
        [*generate.ancestry()], store=store, runtime={**found.runtime, "largest_kept": None}
    )
    readers = evict.Readers([generate], store, found.runtime)
    listed = Path.rglob
    monkeypatch.setattr(Path, "rglob", gone)
    readers.done(generate)
    assert not store.path(model.stage, model.key).is_dir()


def test_a_model_waits_for_a_reader_that_is_known_to_fail(world: World) -> None:
    found, store = planned(world, "data.people=1")
    other, _ = planned(world, "data.people=1", "sampler.steps=7")
    (one, model), (failed, same) = reader_of(found.tasks), reader_of(other.tasks)
    assert model.key == same.key
    known = {failed.key: cells.Failure(failed, "it broke")}
    tasks = [*one.ancestry(), failed]
    execute.run(tasks, store=store, runtime=found.runtime, known=known)
    assert len(models(world)) == 1


def test_a_broken_marker_of_an_evicted_model_is_made_again(world: World) -> None:
    world.launch("attack=none", *ALONE, SMALL)
    [first, _] = (world.root / "store" / EVICTED).rglob(MARKER)
    first.write_text("{}")
    assert world.launch("attack=none", *ALONE, SMALL, "metric=ims") == []
    assert trainings(world) == 1


def test_what_is_evicted_while_its_record_is_read_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evicted_now(folder: Path) -> dict[str, Any]:
        store.evict("personalize", "k")
        return read(folder)

    store, read = Store(tmp_path), artifacts.read_marker
    store.write("personalize", "k", lambda out: {"key": "k", "seconds": 3})
    monkeypatch.setattr(artifacts, "read_marker", evicted_now)
    assert store.provenance("personalize", "k")["seconds"] == 3


def test_jobs_of_a_graph_share_a_model(world: World) -> None:
    alone = ["attack=aspl", *ALONE, SMALL]
    jobs = [world.overrides(*alone, f"sampler.steps={steps}") for steps in (7, 8)]
    merged.Grid(run._show).prepare(jobs, {"workers": 0, "confirm": False})
    assert trainings(world) == 2 and models(world) == []


def test_a_job_of_a_sweep_leaves_its_models_to_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "jobs", lambda: 2)
    world.launch("attack=aspl", *ALONE, SMALL)
    assert len(models(world)) == 2


def test_a_job_of_a_sweep_trains_again_what_is_to_be_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.launch("attack=aspl", *ALONE, SMALL)
    monkeypatch.setattr(sweep, "jobs", lambda: 2)
    world.launch("attack=aspl", *ALONE, ALL)
    assert len(models(world)) == 2


def test_a_finished_command_is_answered_whatever_was_evicted(world: World) -> None:
    words = world.overrides("attack=aspl", SMALL)
    world.launch("attack=aspl", SMALL)
    assert index.find(words)


def test_the_status_of_what_was_evicted_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    world.launch("attack=none", *ALONE, "metric=ims", SMALL)
    monkeypatch.setattr("sys.argv", ["grid", "status", str(world.root / "store")])
    grid.main()
    assert ": 9 of 9 stages" in " ".join(capsys.readouterr().out.split())


def test_the_status_says_why_an_evicted_model_is_not_made_again(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    world.launch("attack=none", *ALONE, SMALL)
    world.failing = {("personalize", "ann")}
    world.launch("attack=none", *ALONE, "sampler.steps=7", SMALL)
    monkeypatch.setattr("sys.argv", ["grid", "status", str(world.root / "store")])
    capsys.readouterr()
    grid.main()
    assert "it broke" in capsys.readouterr().out


def test_the_tracker_is_told_what_it_has_missed_when_a_model_is_made_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(tracked, "log", lambda *what: told.append(what) or True)
    world.launch("attack=none", *ALONE, SMALL)
    words = world.overrides("attack=none", *ALONE, ALL)
    run.launch([word.replace("logger=none", "logger=wandb") for word in words])
    assert len(models(world)) == 2 and len(told) == 1


def test_an_export_says_how_its_model_is_kept(world: World) -> None:
    with pytest.raises(UserError, match=r"is made by\n.*runtime.largest_kept=null$"):
        export.export(world.overrides("attack=none", *ALONE), world.root / "out")


@pytest.mark.parametrize(
    ("launcher", "at_once"),
    [("basic", 4), pytest.param("joblib", 4, marks=pytest.mark.slow), ("graph", 1)],
)
def test_the_plan_of_a_sweep_has_room_for_all_that_its_jobs_leave(
    world: World, monkeypatch: pytest.MonkeyPatch, launcher: str, at_once: int
) -> None:
    monkeypatch.setenv(sweep.JOBS, "1")  # are put back
    monkeypatch.setenv(sweep.NAME, "none")
    world.launch("attack=none", *ALONE, SMALL)
    words = world.overrides("attack=none", *ALONE, SMALL, "trainer.learning_rate=1e-4,1e-3")
    found = plan._planned(["-m", f"hydra/launcher={launcher}", *words])
    lines = {line.stage: line for line in found.lines}
    sizes = [took.disk for took in lines["personalize"].expected if took]
    assert len(sizes) == 4 and lines["personalize"].disk == at_once * sizes[0] > 0


def test_the_plan_has_room_for_one_at_once(world: World) -> None:
    world.launch("attack=aspl", *ALONE, SMALL)
    store = Store(world.root / "store")
    words = world.overrides("attack=aspl", *ALONE, "trainer.learning_rate=1e-4", SMALL)
    found = command.comparison(words)
    lines = {line.stage: line for line in forecast.lines(found.tasks, store, found.runtime)}
    line = lines["personalize"]
    sizes = [took.disk for took in line.expected if took]
    assert len(sizes) == 2 and line.disk == sizes[0] > 0
    kept = forecast.lines(found.tasks, store, {**found.runtime, "largest_kept": None})
    assert {each.stage: each for each in kept}["personalize"].disk == sum(sizes)


def test_evicting_twice_is_evicting_once(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def make(out: Path) -> dict[str, Any]:
        (out / "model").write_text("weights")
        return {"key": "k", "seconds": 3}

    store.write("personalize", "k", make)
    for _ in range(2):
        store.evict("personalize", "k")
        assert store.is_evicted("personalize", "k") and not store.find("personalize", "k")
        assert store.provenance("personalize", "k")["seconds"] == 3
    store.write("personalize", "k", make)
    assert store.find("personalize", "k") and not store.is_evicted("personalize", "k")
    assert not list((tmp_path / "tmp").iterdir())


def test_an_eviction_that_was_killed_leaves_nothing_beside_the_marker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.write("personalize", "k", lambda out: {"key": "k"})
    kept = tmp_path / EVICTED / "personalize" / "k"
    if (process := os.fork()) == 0:
        Path.replace = lambda *_: os._exit(9)  # type: ignore[method-assign]
        store.evict("personalize", "k")
    os.waitpid(process, 0)
    assert len([*kept.iterdir()]) == 1 and not store.is_evicted("personalize", "k")
    store.evict("personalize", "k")
    assert [file.name for file in kept.iterdir()] == [MARKER]


def test_a_limit_is_in_gigabytes() -> None:
    assert evict.limit({"largest_kept": 1.0}) == 1e9
    assert evict.limit({"largest_kept": None}) == evict.limit({}) == float("inf")
