"""The graph of stages with stand-in stages: merging, resuming, failing, reporting."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from world import World

from diffshortcut import run, weights
from diffshortcut.artifacts import sources
from diffshortcut.artifacts.store import Store
from diffshortcut.config import arms, config
from diffshortcut.data import folder
from diffshortcut.errors import UserError
from diffshortcut.graph import cells, execute
from diffshortcut.job import command, results


@pytest.fixture
def source(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package's source that the keys are made of."""
    ignored = shutil.ignore_patterns("mini", "__pycache__")
    monkeypatch.setattr(
        sources, "PACKAGE", shutil.copytree(sources.PACKAGE, world.root / "package", ignore=ignored)
    )
    for cached in (sources.imports, sources.module_file, sources._package_root):
        cached.cache_clear()
    yield world.root / "package"
    for cached in (sources.imports, sources.module_file, sources._package_root):
        cached.cache_clear()


def plan(world: World, *overrides: str) -> list[dict[str, cells.Task]]:
    [person] = folder.people(root=str(world.root / "people"), people=1)
    return [cells.plan(arm.config, person) for arm in arms.compose(world.overrides(*overrides))]


def count(world: World, stage: str) -> int:
    return sum(name == stage for name, _ in world.calls)


def test_equal_stages_of_arms_are_one(world: World) -> None:
    clean, protected, ours = plan(world, "attack=aspl", "purifier=ours")
    assert list(ours) == [
        "prior.surrogate", "protect", "purify.codeformer", "purify.sr", "prior", "personalize",
        "generate", "score.ims", "score.quality", "score.faithfulness",
    ]  # fmt: skip
    assert "prior.surrogate" not in clean and "purify.sr" not in protected
    assert ours["prior"].key == ours["prior.surrogate"].key == clean["prior"].key
    assert protected["protect"].key == ours["protect"].key != clean["protect"].key
    assert protected["personalize"].key != ours["personalize"].key
    tasks = cells.merge([clean, protected, ours])
    assert len({task.key for task in tasks}) == len(tasks) == 1 + 2 + 2 + 3 + 3 + 9
    done: set[str] = set()
    for task in tasks:
        assert {parent.key for parent in task.inputs.values()} <= done
        done.add(task.key)


def test_the_second_link_of_a_class_is_told_its_number(world: World) -> None:
    """Else both would add the same noise; a link that is alone of its class stays as it was."""
    *_, chained = plan(world, "purifier=[gridpure/paper,pixel_diffpure/tiled]")
    *_, mixed = plan(world, "purifier=[jpeg,pixel_diffpure/tiled]")
    *_, alone = plan(world, "purifier=pixel_diffpure/tiled")
    last = [cell["purify.pixel_diffpure"] for cell in (chained, mixed, alone)]
    assert [task.config.get("number") for task in last] == [2, None, None]
    assert "number" not in chained["purify.gridpure"].config
    assert last[0].config["link"] == last[1].config["link"] == last[2].config["link"]


@pytest.mark.parametrize(
    "words",
    [["stages=protect"], ["trainer=textual_inversion"], ["metric=faithfulness"]],
)
def test_a_surrogate_reads_a_prior_that_the_victim_may_not_have(
    world: World, words: list[str]
) -> None:
    tasks = cells.merge(plan(world, "attack=fsmg", *words))
    keys_of = {task.key for task in tasks}
    assert "prior" in {task.stage for task in tasks}
    assert all(parent.key in keys_of for task in tasks for parent in task.inputs.values())


def test_a_prior_is_an_input_and_not_a_value(world: World) -> None:
    ours = plan(world, "attack=aspl")[-1]
    assert "prior" not in ours["protect"].config["attack"]
    assert ours["protect"].inputs["prior"].config["images"] == 48
    assert ours["protect"].config["resolution"] == 128


def test_only_what_a_change_touches_gets_another_key(world: World) -> None:
    given = ["attack=aspl", "purifier=jpeg", "compare.arms=[]"]
    before = plan(world, *given)[-1]

    def changed(*overrides: str) -> set[str]:
        after = plan(world, *given, *overrides)[-1]
        return {name.split(".")[0] for name in before if before[name].key != after[name].key}

    rest = {"personalize", "generate", "score"}
    assert changed("attack.radius=8") == {"protect", "purify", *rest}
    assert changed("purifier.jpeg.quality=50") == {"purify", *rest}
    assert changed("sampler.steps=7") == {"generate", "score"}
    assert changed("metric.ims.weight=1.0") == {"score"}
    assert changed("seed=1") == {"prior", "protect", "purify", *rest}
    assert changed("runtime.threads=1", "runtime.device=cpu", "compare.clean=null") == set()


def test_only_the_images_a_stage_reads_count(world: World) -> None:
    before = {name: task.key for name, task in plan(world)[-1].items()}
    Image.new("RGB", (8, 8), "white").save(world.root / "people" / "ann" / "11.png")
    after = {name: task.key for name, task in plan(world)[-1].items()}
    assert {name.split(".")[0] for name in before if before[name] != after[name]} == {"score"}


@pytest.mark.parametrize(
    ("stage", "place", "change"),
    [
        ("protect", "people/ann/00.png", lambda p: Image.new("RGB", (8, 8), "white").save(p)),
        ("score", "people/ann/11.png", lambda p: p.write_bytes(p.read_bytes()[::-1])),
        ("protect", "people/ann/00.png", lambda p: p.unlink()),
        ("personalize", "weights/mini_a/model.safetensors", lambda p: p.write_text("mini_b")),
        ("generate", "package/stages/generate.py", lambda p: p.write_text("")),
    ],
    ids=["picture", "picture of equal size", "no picture", "weights", "source"],
)
def test_what_changes_while_a_stage_runs_never_gets_the_old_key(
    world: World, source: Path, stage: str, place: str, change: Callable[[Path], object]
) -> None:
    tasks = [t for t in cells.merge(plan(world, "compare.arms=[]")) if t.key]
    runtime = {"device": "cpu", "threads": 1, "fail_fast": False, "checkpoint_minutes": 10}
    world.during = {stage: lambda: change(world.root / place)}
    failures = execute.run(tasks, store=Store(world.root / "store"), runtime=runtime)
    first = failures[0]
    assert first.task.stage == stage and first.reason.startswith(first.task.title)
    assert "call the same command again" in first.reason or "No such file" in first.reason
    assert not (world.root / "store" / stage / first.task.key).exists()
    before, world.calls = count(world, stage), []
    execute.run([first.task], store=Store(world.root / "store"), runtime=runtime)
    assert before == 1 and world.calls == []  # known before it runs


def test_all_code_is_loaded_before_anything_runs(world: World, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "diffshortcut.stages.score", None)
    with pytest.raises(ModuleNotFoundError):
        world.launch()
    assert world.calls == []


def test_each_stage_is_told_what_it_reads(world: World) -> None:
    assert world.launch("attack=aspl", "purifier=jpeg") == []
    roles = {stage: set().union(*seen) for stage, seen in world.seen.items()}
    assert roles == {
        "prior": set(),
        "protect": {"prior"},
        "purify": {"images"},
        "personalize": {"images", "prior"},
        "generate": {"model"},
        "score": {"generated", "purified", "protected"},
    }
    scored = [{role: path.parent.name for role, path in one.items()} for one in world.seen["score"]]
    rest = {"generated": "generate", "protected": "protect"}
    assert {"purified": "purify", **rest} in scored  # the last link
    assert {"purified": "protect", **rest} in scored  # no link


def test_a_second_run_computes_only_what_is_new(world: World) -> None:
    world.launch("attack=aspl")
    assert (count(world, "protect"), count(world, "personalize")) == (2, 2)
    world.launch("attack=aspl", "purifier=jpeg")
    stages = [stage for stage, _ in world.calls]
    assert stages == ["purify", "personalize", "generate", "score", "score", "score"]
    world.launch("attack=aspl", "purifier=jpeg", "data.people=2")
    assert {person for _, person in world.calls} == {"bob"}
    world.launch("attack=aspl", "purifier=jpeg", "data.people=2")
    assert world.calls == []


def test_a_lost_artifact_is_made_again_when_it_is_needed(world: World) -> None:
    world.launch("attack=aspl")
    shutil.rmtree(world.root / "store" / "personalize")
    shutil.rmtree(world.root / "outputs")
    world.launch("attack=aspl")
    assert {stage for stage, _ in world.calls} == {"personalize"}


def test_results_are_complete_and_named_by_content(world: World, capsys: Any) -> None:
    world.launch("attack=aspl", "purifier=jpeg")
    [place] = (world.root / "outputs").iterdir()
    assert place.name.startswith("aspl-jpeg-")
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
    assert {row["arm"] for row in rows} == {"clean", "protected", "aspl+jpeg"}
    metrics = {row["metric"] for row in rows}
    assert {"ims", "q", "overall", "seconds.protect", "peak_memory"} <= metrics
    assert all(row["keys"]["protect"] and row["training_seed"] == 0 for row in rows)
    record = json.loads((place / "record.json").read_text())
    stage = record["stages"]["aspl+jpeg"]["ann"]["purify.jpeg"]
    assert {"git", "packages", "device", "threads", "seconds", "peak_memory", "key"} <= stage.keys()
    assert stage["facts"] == {"steps": 1} and stage["seconds"] >= 0 and stage["peak_memory"] > 0
    world.launch("attack=aspl", "purifier=jpeg")
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    "name",
    ["table.txt", "table.md", "rows.jsonl", "comparison.json", "gallery.png", "record.json"],
)
@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda p: p.write_bytes(p.read_bytes()[:-1])], ids=["gone", "cut"]
)
def test_results_that_are_damaged_are_written_again(
    world: World, capsys: Any, name: str, damage: Callable[[Path], object]
) -> None:
    world.launch("compare.arms=[]")
    [place] = (world.root / "outputs").iterdir()
    printed = capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    damage(place / name)
    assert not results.is_complete(place)
    world.launch("compare.arms=[]")
    assert world.calls == [] and capsys.readouterr().out == printed
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    assert results.is_complete(place)


def test_what_the_tracker_has_missed_it_is_told_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a tracker first, then while it does not answer, then while it does."""
    from diffshortcut.report import tracked

    world.launch()
    words = [word.replace("logger=none", "logger=wandb") for word in world.overrides()]
    answers, told = [False, True], []
    monkeypatch.setattr(tracked, "log", lambda *what: told.append(what) or answers.pop(0))
    for number in (1, 2, 2):  # then the index answers
        run.launch(words)
        assert len(told) == number
    (_, _, first, *_), (_, _, second, *_) = told
    assert first.rows == second.rows and len(first.rows) > 0


@pytest.mark.parametrize("cleaned", ["store", "store/personalize", "store/generate"])
def test_results_are_shown_though_the_store_holds_nothing_to_track(
    world: World, caplog: Any, capsys: Any, cleaned: str
) -> None:
    world.launch()
    shown = capsys.readouterr().out
    shutil.rmtree(world.root / cleaned)
    words = [word.replace("logger=none", "logger=wandb") for word in world.overrides()]
    assert run.launch(words) == []
    assert capsys.readouterr().out == shown
    [said] = [r.message for r in caplog.records if r.message.startswith("W&B")]
    lacking = "W&B: not logged, the store no longer holds"
    assert re.match(rf"{lacking} {world.root}/store/\w+/", said)


def test_the_record_says_what_was_read(world: World) -> None:
    world.launch("attack=aspl")
    [record] = (world.root / "outputs").glob("*/record.json")
    cell = json.loads(record.read_text())["stages"]["protected"]["ann"]
    [person] = folder.people(root=str(world.root / "people"), people=1)
    assert cell["protect"]["pictures"] == {
        name: person.digest([name]) for name in ("set_A", "set_B")
    }
    assert cell["score.ims"]["pictures"].keys() == {"set_B", "set_C"}
    assert cell["prior"]["pictures"] == {}
    used = {
        reference: digest
        for stage in cell.values()
        for reference, digest in stage["weights"].items()
    }
    assert "mini:mini_a" in cell["prior"]["weights"] and "mini:clip" in used
    assert used == {reference: weights.digest(reference) for reference in used}


def test_a_row_has_the_seed_of_its_own_arm(world: World) -> None:
    other = "compare.arms=[{name: other, overrides: ['seed=3']}]"
    world.launch(other, "compare.clean=null")
    [place] = (world.root / "outputs").iterdir()
    rows = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
    assert {(row["arm"], row["training_seed"]) for row in rows} == {("other", 3), ("clean", 0)}


def other_arm(*words: str) -> list[str]:
    own = ", ".join(f"'{word}'" for word in words)
    return [f"compare.arms=[{{name: other, overrides: [{own}]}}]", "compare.clean=null"]


def test_an_arm_has_its_own_pictures_of_the_same_people(world: World) -> None:
    (world.root / "later" / "ann").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(world.root / "later" / "ann" / "x.png")
    Image.new("RGB", (8, 8)).save(world.root / "later" / "ann" / "y.png")
    comparison = command.comparison(
        world.overrides(*other_arm(f"data.root={world.root / 'later'}"))
    )
    cell = comparison.cells["other"]["ann"]
    assert [path.name for path in cell["protect"].person.set_B] == ["x.png"]
    assert len(comparison.cells["clean"]["ann"]["protect"].person.set_B) == 4


def test_arms_of_other_people_are_refused(world: World) -> None:
    with pytest.raises(UserError, match="arm other has other people .* bob instead of ann"):
        command.comparison(world.overrides(*other_arm("data.people=[bob]")))


@pytest.mark.parametrize(
    "word", ["stages=protect", "runtime.threads=1", "checkpoint.minutes=1", "logger=wandb"]
)
def test_an_arm_does_not_say_what_holds_for_all(world: World, word: str) -> None:
    with pytest.raises(UserError, match=f"arm other: {word} holds for all arms"):
        command.comparison(world.overrides(*other_arm(word)))


def test_flags_of_all_cells_are_shown_and_rows_stay_as_they_are(world: World) -> None:
    weak = {"flags": {"budget_unused": "0 % of sub-pixels at the bound"}}
    world.facts = {("protect", "bob"): weak, ("purify", "ann"): {"unchanged": True}}
    world.launch("attack=aspl", "purifier=jpeg", "data.people=2")
    [place] = (world.root / "outputs").iterdir()
    flags = json.loads((place / "comparison.json").read_text())["flags"]
    assert flags["protected"] == {"budget_unused": {"bob": "0 % of sub-pixels at the bound"}}
    assert flags["aspl+jpeg"]["budget_unused"] == flags["protected"]["budget_unused"]
    assert list(flags["aspl+jpeg"]["purifier_is_no_op"]) == ["ann"]
    for table in ("table.md", "table.txt"):
        text = (place / table).read_text()
        assert "purifier_is_no_op" in text and "1 of 2" in text
    assert "budget_unused" not in (place / "rows.jsonl").read_text()


def test_the_size_of_a_protection_comes_from_its_stage(world: World) -> None:
    world.facts = {("protect", "ann"): {"mean": 6.0}, ("protect", "bob"): {"mean": 8.0}}
    world.launch("attack=aspl", "purifier=jpeg", "data.people=2")
    [place] = (world.root / "outputs").iterdir()
    found = json.loads((place / "comparison.json").read_text())["arms"]
    assert found["protected"]["mean_change"] == found["aspl+jpeg"]["mean_change"] == 7.0
    assert "| protected | 7.00 | - | - | - |" in (place / "table.md").read_text()


def test_a_worst_of_arm_costs_nothing_and_is_in_the_results(world: World) -> None:
    world.launch("attack=aspl", "purifier=jpeg")
    [before] = (world.root / "outputs").iterdir()
    world.launch("attack=aspl", "purifier=jpeg", "+compare.worst={either: [protected, aspl+jpeg]}")
    assert world.calls == []
    [place] = set((world.root / "outputs").iterdir()) - {before}
    assert "| either | 1 |" in (place / "table.md").read_text()
    assert (place / "rows.jsonl").read_bytes() == (before / "rows.jsonl").read_bytes()


def test_a_failure_stops_only_what_needs_it(world: World, capsys: Any) -> None:
    world.failing = {("personalize", "bob")}
    failures = world.launch("attack=aspl", "data.people=2")
    assert {(f.task.stage, f.task.person.name) for f in failures if f.task.person} == {
        (stage, "bob") for stage in ("personalize", "generate", "score")
    }
    assert {f.reason for f in failures} == {"it broke", "it needs a stage that failed"}
    [place] = (world.root / "outputs").iterdir()
    rows = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
    assert {row["person"] for row in rows} == {"ann"}
    assert not (place / "record.json").exists()
    said = capsys.readouterr().out
    assert "incomplete" in said and "record.json" not in said
    for table in ("table.md", "table.txt"):
        assert "Not done: personalize bob" in (place / table).read_text()
    world.failing = set()
    assert world.launch("attack=aspl", "data.people=2") == []
    assert {person for _, person in world.calls} == {"bob"}
    assert (place / "record.json").exists()


def test_a_reason_is_no_markup_in_the_table(world: World) -> None:
    def fail() -> None:
        raise RuntimeError("<b> [x](javascript:y)\n# z")

    world.during = {"personalize": fail}
    assert world.launch("attack=aspl", "data.people=2")
    [place] = (world.root / "outputs").iterdir()
    assert r": &lt;b&gt; [x\](javascript:y) # z" in (place / "table.md").read_text()


def test_fail_fast_stops_everything(world: World) -> None:
    world.failing = {("prior", "")}
    with pytest.raises(RuntimeError, match="it broke"):
        world.launch("runtime.fail_fast=true")
    assert world.calls == [("prior", "")]


def test_a_full_disk_stops_everything(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**given: Any) -> dict:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["diffshortcut.stages.prior"], "run", full)
    with pytest.raises(UserError, match="no space left"):
        world.launch()
    assert world.calls == []


@pytest.mark.parametrize("place", ["store", "outputs"])
def test_an_unwritable_folder_is_named_before_anything_runs(world: World, place: str) -> None:
    (world.root / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to .*file/sub"):
        world.launch(f"runtime.{place}={world.root}/file/sub")
    assert world.calls == []


def test_missing_weights_are_named_before_anything_runs(world: World) -> None:
    shutil.rmtree(world.root / "weights" / "upscaler")
    with pytest.raises(UserError, match="weights: no .*upscaler"):
        world.launch("purifier=sr")
    with pytest.raises(UserError, match="python -m diffshortcut.weights fetch"):
        world.launch("zoo=full")
    assert world.calls == []


def test_values_are_judged_before_anything_runs(world: World, monkeypatch: Any) -> None:
    def judge(node: Any, where: str) -> None:
        if where == "attack" and node.get("radius", 0) < 0:
            raise UserError(f"{where}: radius")

    monkeypatch.setattr(config, "check_values", judge)
    with pytest.raises(UserError, match="attack: radius"):
        world.launch("attack=random", "attack.radius=-1")
    assert world.calls == []


def test_a_cached_answer_is_fast_and_needs_no_torch(world: World, capsys: Any) -> None:
    world.launch("attack=aspl", "purifier=ours")
    printed = capsys.readouterr().out
    script = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from diffshortcut import run, weights
        from diffshortcut.config import config
        weights.MINI = Path({str(world.root / "weights")!r})
        config.compose()
        start = time.process_time()  # whatever else the machine does
        run.launch({world.overrides("attack=aspl", "purifier=ours")!r})
        print(time.process_time() - start, *({{"torch", "scipy", "diffusers"}} & set(sys.modules)))
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    *table, last = done.stdout.splitlines()
    assert table == printed.splitlines()
    seconds, *imported = last.split()
    assert float(seconds) < 3 and imported == []


def test_the_store_holds_one_folder_per_stage_and_key(world: World) -> None:
    world.launch("attack=aspl")
    store = Store(world.root / "store")
    for task in cells.merge(plan(world, "attack=aspl")):
        assert store.find(task.stage, task.key)
        assert store.provenance(task.stage, task.key)["stage"] == task.stage


def test_results_are_of_the_command_line_s_config_though_its_own_arm_failed(world: World) -> None:
    """Its family of claims, its logger and its folder are said in no other arm's config."""
    whole = command.comparison(world.overrides("attack=aspl", "purifier=jpeg"))
    own = whole.cells[whole.own.name].values()
    left = whole.without([cells.Failure(list(cell.values())[-1], "it broke") for cell in own])
    assert [arm.name for arm in left.arms] == ["clean", "protected"]
    assert left.config == whole.config and "jpeg" in left.config["purifier"]
