"""Grids on Ray: equal bytes however they are run, killed and resumed; failures stop no other."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from diffshortcut.artifacts.artifact import MARKER

pytestmark = pytest.mark.alone
ROOT = Path(__file__).parents[1]
KILLS = int(os.environ.get("GRID_KILLS", "2"))
FULL = KILLS > 2  # make grid-kills
ATTACKS = os.environ.get("GRID_ATTACKS", "advdm,aspl,metacloak" if FULL else "random")
PURIFIERS = os.environ.get(
    "GRID_PURIFIERS", "none,jpeg,gaussian,codeformer" if FULL else "none,jpeg"
)
PEOPLE = int(os.environ.get("GRID_PEOPLE", "2" if FULL else "1"))
# Seconds at most that a kill waits once its number of stages is there, and the share of the stages
# over which the kills are: one after the last stage breaks nothing, and the small grid soon ends.
PAUSE, SPREAD = (1.0, 0.8) if FULL else (0.2, 0.4)
METHODS = """
from dataclasses import dataclass

import torch
from torch import Tensor

from diffshortcut.seeding import Draws


@dataclass(frozen=True, kw_only=True)
class Breaks:
    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        raise RuntimeError("it broke")


@dataclass(frozen=True, kw_only=True)
class Greedy:
    micro_batch: int | None

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


@dataclass(frozen=True, kw_only=True)
class Hungry:
    micro_batch: int | None

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        if self.micro_batch != 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return images * 0.9


@dataclass(frozen=True, kw_only=True)
class Lost:
    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        return images * torch.nan
"""
OPTIONS = {"greedy": "micro_batch: null\n", "hungry": "micro_batch: null\n"}


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plug-in's parent folder."""
    root = tmp_path_factory.mktemp("plugins") / "outside"
    (root / "conf" / "purifier").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "methods.py").write_text(METHODS)
    for name in ("breaks", "greedy", "hungry", "lost"):
        text = f"# @package purifier.{name}\n_target_: outside.methods.{name.title()}\n"
        (root / "conf" / "purifier" / f"{name}.yaml").write_text(text + OPTIONS.get(name, ""))
    return root.parent


class Place:
    """A folder in which a grid is run, as a user would."""

    def __init__(self, folder: Path, outside: Path) -> None:
        self.folder = folder
        paths = os.pathsep.join([str(outside), str(ROOT)])
        told = {"PYTHONPATH": paths, "DIFFSHORTCUT_PLUGINS": "outside", "OMP_NUM_THREADS": "1"}
        self.environment = {**os.environ, **told}
        self.started = 0

    def begin(self, *words: str, launcher: str = "graph", people: int = 1) -> subprocess.Popen[str]:
        alone = ["compare.arms=[]", "compare.clean=null", "metric=ims", f"data.people={people}"]
        settings = ["debug=tiny", "logger=none", "runtime.threads=1", *alone]
        options = [f"hydra/launcher={launcher}", *settings, *words]
        command = [sys.executable, "-m", "diffshortcut.run", "-m", *options]
        self.started += 1
        output = (self.folder / f"output-{self.started}.txt").open("w")
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=output, stderr=output, text=True
        )

    @property
    def output(self) -> str:
        """What the last command said."""
        return (self.folder / f"output-{self.started}.txt").read_text()

    def payload(self) -> dict[str, str]:
        """sha256 of every file of every artifact but its marker."""
        store = self.folder / "outputs" / "store"
        stages = ("prior", "protect", "purify", "personalize", "generate", "score")
        files = [p for stage in stages for p in sorted(store.glob(f"{stage}/*/**/*"))]
        return {
            str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
            if file.is_file() and file.name != MARKER
        }

    def done(self) -> int:
        """How many artifacts are complete."""
        return len([*self.folder.glob(f"outputs/store/*/*/{MARKER}")])

    def starts(self) -> list[tuple[str, float, int]]:
        """Each time a worker began a task: the log's name, when, its process."""
        found = []
        for log in self.folder.glob("outputs/store/grids/*/logs/*.log"):
            for when, pid in re.findall(
                r"(?m)^(\S+ \S+) INFO .* in process (\d+)$", log.read_text()
            ):
                moment = datetime.strptime(when, "%Y-%m-%d %H:%M:%S,%f").timestamp()
                found.append((log.stem, moment, int(pid)))
        return found


@pytest.fixture
def place(tmp_path: Path, outside: Path) -> Place:
    pytest.importorskip("ray")
    return Place(tmp_path, outside)


def grid(place: Place, workers: int) -> subprocess.Popen[str]:
    words = [f"attack={ATTACKS}", f"purifier={PURIFIERS}", f"hydra.launcher.workers={workers}"]
    return place.begin(*words, people=PEOPLE)


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory, outside: Path) -> dict[str, str]:
    """The bytes of the grid in one process, without Ray."""
    place = Place(tmp_path_factory.mktemp("serial"), outside)
    assert grid(place, workers=0).wait() == 0, place.output
    return place.payload()


@pytest.mark.slow
def test_two_workers_make_the_same_bytes_and_each_stage_once(
    place: Place, serial: dict[str, str]
) -> None:
    assert grid(place, workers=2).wait() == 0, place.output
    assert place.payload() == serial
    starts = [name for name, _, _ in place.starts()]
    made = {"/".join(file.split("/")[:2]) for file in serial}
    assert len(starts) == len(set(starts)) == len(made)
    assert len({pid for _, _, pid in place.starts()}) == 2  # both had work, and stayed


@pytest.mark.slow
def test_kills_lose_nothing_and_repeat_nothing(place: Place, serial: dict[str, str]) -> None:
    chance, running, killed = random.Random(0), grid(place, workers=2), {"worker": 0, "driver": 0}
    whole = len({"/".join(file.split("/")[:2]) for file in serial})
    known, there = 0, []  # stages that had begun, that were complete at each kill
    for number, target in enumerate(sorted(chance.choices(range(int(whole * SPREAD)), k=KILLS))):
        while running.poll() is None and (len(place.starts()) == known or place.done() < target):
            time.sleep(0.2)
        time.sleep(chance.uniform(0, PAUSE))
        if running.poll() is not None:
            break
        there.append(place.done())
        known, victim = len(place.starts()), ("worker", "driver")[number % 2]
        if victim == "driver":
            running.kill()
            running.wait()
            running = grid(place, workers=2)
        else:
            begun = [pid for _, _, pid in place.starts() if Path(f"/proc/{pid}").exists()]
            os.kill(chance.choice(begun), signal.SIGKILL)
        killed[victim] += 1
    assert running.wait() == 0, place.output
    assert sum(killed.values()) == KILLS, killed
    assert place.payload() == serial
    assert not (place.folder / "outputs" / "store" / "quarantine").exists()
    finished = {
        f"{marker.parent.parent.name}-{marker.parent.name[:8]}": marker.stat().st_mtime
        for marker in place.folder.glob(f"outputs/store/*/*/{MARKER}")
    }
    assert all(began <= finished[name] for name, began, _ in place.starts())
    _keep({"killed": killed, "stages": len(finished), "begun": len(place.starts()), "there": there})


def _keep(found: dict[str, Any]) -> None:
    """Print what a run of kills was, and write it where `make grid-kills` wants it."""
    words = {"attacks": ATTACKS, "purifiers": PURIFIERS, "people": PEOPLE}
    text = json.dumps({**words, **found}, indent=1)
    print(text)
    if record := os.environ.get("GRID_RECORD"):
        Path(record).write_text(f"{text}\n")


@pytest.mark.slow
def test_three_broken_cells_are_named_and_the_others_finish(place: Place) -> None:
    words = ["attack=random", "purifier=none,breaks,greedy,lost,hungry"]
    assert place.begin(*words, "hydra.launcher.workers=1").wait() == 1
    said = place.output
    ends = said[said.index("not done: ") :]
    nan = "04.png: the image holds NaN"  # the first picture of set_B
    for reason in ("it broke", "DefaultCPUAllocator: can't allocate memory", nan):
        assert re.search(rf"not done: purify person_000 \w+: .*{re.escape(reason)}", ends), said
    logs = [Path(log) for log in re.findall(r"\((\S+\.log)\)", ends)]
    assert any("RuntimeError: it broke" in log.read_text() for log in logs)
    complete = {record.parent.name for record in place.folder.glob("outputs/*/record.json")}
    assert {name.rpartition("-")[0] for name in complete} == {"random", "random-hungry"}
    tries = [
        json.loads(marker.read_text())["provenance"]
        for marker in place.folder.glob(f"outputs/store/purify/*/{MARKER}")
    ]
    assert [told["out_of_memory"] for told in tries] == [[4, 2]]
    assert "jobs: 5, to do: 5 | their stages: 21, to do: 21" in said and "Traceback" not in said


@pytest.mark.long
def test_a_grid_on_a_cluster_survives_one_of_its_two_nodes(
    place: Place, serial: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    for name in ("PYTHONPATH", "DIFFSHORTCUT_PLUGINS"):
        monkeypatch.setenv(name, place.environment[name])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        node = cluster.add_node(num_cpus=1)
        words = [f"attack={ATTACKS}", f"purifier={PURIFIERS}"]
        running = place.begin(*words, f"hydra.launcher.address={cluster.address}", people=PEOPLE)
        while len({pid for _, _, pid in place.starts()}) < 2 and running.poll() is None:
            time.sleep(0.5)
        assert running.poll() is None, place.output
        cluster.remove_node(node, allow_graceful=False)
        assert running.wait() == 0, place.output
    finally:
        cluster.shutdown()
    assert "its worker died; it is tried again" in place.output
    assert place.payload() == serial


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param("joblib", marks=pytest.mark.slow),
        pytest.param("submitit_local", marks=pytest.mark.long),  # make slurm-test: the real one
    ],
)
def test_other_launchers_meet_at_the_store(
    place: Place, serial: dict[str, str], launcher: str
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    few = (
        ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else ["hydra.launcher.cpus_per_task=1"]
    )
    if FULL:
        pytest.skip("the small grid is enough")
    words = [f"attack={ATTACKS}", f"purifier={PURIFIERS}", *few]
    assert place.begin(*words, launcher=launcher).wait() == 0, place.output
    assert place.payload() == serial
