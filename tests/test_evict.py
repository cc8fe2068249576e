"""A trained model larger than runtime.largest_kept goes once all that reads it is done."""

import json
from pathlib import Path
from typing import Any

import pytest
from world import World

from diffshortcut import command, evict, execute, grid, index, plan, run, sweep
from diffshortcut.launch import graph
from diffshortcut.store import EVICTED, MARKER, Store

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


def test_jobs_of_a_graph_share_a_model(world: World) -> None:
    alone = ["attack=aspl", *ALONE, SMALL]
    jobs = [world.overrides(*alone, f"sampler.steps={steps}") for steps in (7, 8)]
    graph.Grid(run._show).prepare(jobs, {"workers": 0, "confirm": False})
    assert trainings(world) == 2 and models(world) == []


def test_a_job_of_a_sweep_leaves_its_models_to_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "jobs", lambda: 2)
    world.launch("attack=aspl", *ALONE, SMALL)
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


def test_the_plan_has_room_for_one_at_once(world: World) -> None:
    world.launch("attack=aspl", *ALONE, SMALL)
    store = Store(world.root / "store")
    words = world.overrides("attack=aspl", *ALONE, "trainer.learning_rate=1e-4", SMALL)
    found = command.comparison(words)
    lines = {line.stage: line for line in plan.lines(found.tasks, store, found.runtime)}
    line = lines["personalize"]
    sizes = [took.disk for took in line.expected if took]
    assert len(sizes) == 2 and line.disk == sizes[0] > 0
    kept = plan.lines(found.tasks, store, {**found.runtime, "largest_kept": None})
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


def test_a_limit_is_in_gigabytes() -> None:
    assert evict.limit({"largest_kept": 1.0}) == 1e9
    assert evict.limit({"largest_kept": None}) == evict.limit({}) == float("inf")
