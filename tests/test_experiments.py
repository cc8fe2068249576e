"""The committed experiments: every cell of every table composes, and every command runs."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffshortcut import run
from diffshortcut.attacks.adaptive import Adaptive
from diffshortcut.config import arms, catalog, config, sweep
from diffshortcut.graph import cells
from diffshortcut.job import command
from diffshortcut.stages import protect
from diffshortcut.statistics import fewest
from diffshortcut.statistics.comparison import STAR

NAMES = [name for name in catalog.groups()["experiment"]]
ONE = ["data.people=1", "logger=none"]
DEAR = ("grid",)  # minutes; the others take two and a half at most
ALIKE = ("figure5", "figure7")  # another's run under a name of its own
# a second for every few arms
LARGE = ("table1", "table1_cdl", "table3", "controls", "faithfulness")
# of a sweep one job: the others differ in one value
JOBS = {
    "table1": ["attack=advdm"],
    "table1_cdl": ["attack=advdm"],
    "figure6": ["model=mini_b"],
    "figure8": ["attack.radius=4"],
    "transfer": ["attack=advdm", "surrogate=mini_b", "model=mini_a", "trainer=dreambooth"],
    "grid": ["attack=advdm", "purifier=jpeg", "attack.radius=4"],
    "attacks": ["attack=advdm"],
    "purifiers": ["attack=advdm", "purifier=jpeg"],
    "faithfulness": ["attack=advdm"],
    "controls": ["attack=advdm"],  # whose arms are table1's and table1_cdl's, too
}


def jobs(name: str, words: Sequence[str] = ()) -> list[list[str]]:
    return sweep.expand([f"experiment={name}", *ONE, *words]).jobs


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in NAMES]
)
def test_every_cell_composes(name: str) -> None:
    """The first and the last job of a sweep; ours has its trainer and sampler in each."""
    listed = jobs(name)
    for job in {tuple(job): job for job in (listed[0], listed[-1])}.values():
        comparison = command.comparison(job)
        names = [arm.name for arm in comparison.arms]
        assert len(names) == len(set(names)) > 1
        for arm in comparison.arms:
            if arm.choices.get("purifier") == "ours":
                assert (arm.choices["trainer"], arm.choices["sampler"]) == ("cdl", "quality")
            if arm.name == "clean":
                assert arm.choices["attack"] == "none" and not arm.config["purifier"]
        for claim in comparison.config["compare"]["claims"]:
            rivals = {*claim["rivals"], claim["arm"]}
            assert defended(comparison.arms, claim["arm"]) <= rivals


def defended(listed: Sequence[arms.Arm], name: str) -> set[str]:
    """The arms whose defense is set against that of an arm: of the same attack, not undefended."""
    attack = next(arm.config["attack"] for arm in listed if arm.name == name)
    same = [arm for arm in listed if arm.config["attack"] == attack]
    return {arm.name for arm in same if arm.config["purifier"] or arm.choices["trainer"] == "cdl"}


def test_a_sweep_declares_the_claims_of_all_its_jobs() -> None:
    for name in NAMES:
        cfg = config.compose([f"experiment={name}"], hydra=True)
        declared = len(jobs(name)) * len(cfg.compare.claims)
        assert cfg.compare.family == (declared or None if cfg.hydra.sweeper.params else None), name


def test_claims_can_be_won_by_as_many_people_as_they_are_made_of() -> None:
    """Table 1's are points, as its readme says; tested it has 16 people."""
    for name in set(NAMES) - {"table1", "table1_cdl"}:
        cfg = config.compose([f"experiment={name}"], hydra=True)
        if claims := cfg.compare.family or len(cfg.compare.claims):
            assert fewest(STAR, "greater", claims) <= cfg.data.people, name


def test_no_experiment_says_again_what_ours_says() -> None:
    """It would win over ours in silence, should the two ever differ.

    Neither in its arms nor in its defaults, its own or those of one that it goes by.
    """
    for name in NAMES:
        said = [config.given(arm["overrides"]) for arm in arms_of(name)]
        for groups in [*said, defaults(name)]:
            if groups.get("purifier") == "ours":
                assert not groups.keys() & {"trainer", "sampler"}, (name, groups)


def test_every_experiment_declares_what_it_compares() -> None:
    """Before anything is run; a grid and a gallery of distances have nothing to win."""
    for name in set(NAMES) - {"grid", "figure2", "faithfulness"}:
        compare = config.compose([f"experiment={name}"], hydra=True).compare
        assert compare.claims or compare.pairs, name


def test_comparisons_that_bear_conclusions_are_declared() -> None:
    """In table4 what the token adds to each purifier, in table5 every token beside our default."""
    pairs = {name: written(name)["compare"]["pairs"] for name in ("table4", "table5")}
    named = {name: [arm["name"] for arm in arms_of(name)] for name in pairs}
    with_token = [arm for arm in named["table4"] if arm.endswith("+token")]
    assert pairs["table4"] == [[arm, arm.removesuffix("+token")] for arm in with_token]
    *others, default = named["table5"][2:]
    assert pairs["table5"] == [[arm, default] for arm in others]


def test_what_is_run_as_released_has_its_pair() -> None:
    """In controls each beside the correct one, PixelDiffPure also beside its own windows."""
    named = [arm["name"] for arm in arms_of("controls")]
    right = {arm: {arm.removesuffix("/legacy")} for arm in named if arm.endswith("/legacy")}
    right["pixel_diffpure/legacy"].add("pixel_diffpure/tiled")
    pairs = written("controls")["compare"]["pairs"]
    assert {arm: {a for a, b in pairs if b == arm} for arm in right} == right
    swept_too = {*swept_purifiers(), "ours", "ours/legacy"}
    assert {*right, *set().union(*right.values())} <= swept_too


def swept_purifiers() -> set[str]:
    """Those that `experiment=purifiers` asks about."""
    words = written("purifiers")["hydra"]["sweeper"]["params"]["purifier"]
    return set(words.replace(" ", "").split(","))


def test_what_is_trained_on_is_what_is_measured_without_a_victim() -> None:
    """faithfulness lists as arms the purifiers that purifiers sweeps."""
    assert {arm["name"] for arm in arms_of("faithfulness")} - {"perturbed"} == swept_purifiers()


def written(name: str) -> dict[str, Any]:
    """An experiment's yaml."""
    return yaml.safe_load((catalog.folder() / "experiment" / f"{name}.yaml").read_text())


def arms_of(name: str) -> list[dict[str, Any]]:
    """Those that an experiment's own yaml lists."""
    return list(written(name).get("compare", {}).get("arms", ()))


def defaults(name: str) -> dict[str, str]:
    """The options that an experiment's defaults choose, and those of the experiments among them."""
    chosen: dict[str, str] = {}
    for entry in written(name).get("defaults", ()):
        if isinstance(entry, dict):
            chosen |= {key.rpartition("/")[2]: option for key, option in entry.items()}
        elif entry in NAMES:
            chosen |= defaults(entry)
    return chosen


@pytest.mark.slow
def test_table_1_is_a_grid_of_77() -> None:
    listed = jobs("table1")
    planned = [command.comparison(job) for job in (listed[0], listed[1])]
    arms = {arm.name for arm in planned[0].arms} - {"clean"}
    assert len(listed) * len(arms) == 77
    tasks = cells.merge(cell for found in planned for _, _, cell in found)
    attacks = [task for task in tasks if task.stage == "protect"]
    assert len(attacks) == 2 + 1  # one for all purifiers, and that of the clean arm


@pytest.mark.slow
def test_table_1_under_cdl_differs_in_trainer_and_sampler_only() -> None:
    plain, cdl = (command.comparison(jobs(name)[0]) for name in ("table1", "table1_cdl"))
    assert [arm.name for arm in cdl.arms] == [arm.name for arm in plain.arms]
    assert cdl.config["compare"]["claims"] == plain.config["compare"]["claims"]
    for name, of_arm in cdl.cells.items():
        for person, cell in of_arm.items():
            other = plain.cells[name][person]
            before = [stage for stage in cell if stage.startswith(("protect", "purify"))]
            assert [cell[s].key for s in before] == [other[s].key for s in before]
    assert {(a.choices["trainer"], a.choices["sampler"]) for a in cdl.arms} == {("cdl", "quality")}


def test_what_trains_nothing_says_so() -> None:
    for name in ("table2", "faithfulness", "figure2"):
        of_victims = [
            task
            for _, _, cell in command.comparison(jobs(name)[0])
            for task in cell.values()
            if task.stage in ("personalize", "generate") and "images" in task.inputs
        ]
        assert not of_victims


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tables share is made once."""
    return tmp_path_factory.mktemp("experiments")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.long if n in DEAR + ALIKE else pytest.mark.slow)
        for n in NAMES
    ],
)
def test_every_table_is_computed(name: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a size that means nothing: one person, a few steps, one draw of held-out objectives."""
    monkeypatch.setattr(protect, "HELD_OUT", 1)
    monkeypatch.setattr(Adaptive, "held_out_draws", 1)
    monkeypatch.setattr(sys, "argv", ["run"])
    words = ["debug=quick", "runtime.threads=1", *places(store), *JOBS.get(name, ())]
    [job] = jobs(name, words)
    assert run.launch(job) == []
    [folder] = (store / "outputs").glob(f"{name.replace('_', '-')}-????????")
    assert (folder / "record.json").is_file()
    assert (folder / "gallery.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_table_that_sweeps_by_itself_is_one_command(store: Path) -> None:
    words = ["experiment=figure8", *ONE, "debug=quick", "runtime.threads=1", *places(store)]
    done = subprocess.run(
        [sys.executable, "-m", "diffshortcut.run", *words, "attack=advdm"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Mean per arm") == 4  # radii


def places(store: Path) -> list[str]:
    return [f"runtime.store={store}/store", f"runtime.outputs={store}/outputs"]
