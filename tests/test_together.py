"""A sweep without the graph's launcher: its jobs' failures said at its end, and its status."""

import os
import re
import sys
from types import SimpleNamespace

import pytest
from hydra.types import RunMode
from world import World

from diffshortcut import grid, run
from diffshortcut.artifacts.store import Store
from diffshortcut.config import sweep
from diffshortcut.launch import merged, together
from diffshortcut.launch.record import FAILURES, Record

ALONE = ["compare.arms=[]", "compare.clean=null", "metric=ims", "data.people=2"]


@pytest.fixture
def words(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of a sweep of three jobs, in which bob's attack fails; what it tells its jobs is put back."""
    for variable in (sweep.JOBS, sweep.NAME, "HYDRA_FULL_ERROR"):
        monkeypatch.setenv(variable, "")
    monkeypatch.setattr(run, "_grid", merged.Grid(run._show))
    world.failing = {("protect", "bob")}
    return ["-m", *world.overrides("attack=random,pid,advdm", *ALONE)]


def test_failures_of_all_jobs_are_said_at_the_end(
    world: World,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each once, and those of this time only; of a command of one job they have just been said."""
    found = sweep.expand(words)

    def app() -> None:
        assert all(run.launch(job) for job in found.jobs[:2])
        capsys.readouterr()  # what they said themselves
        sys.exit(1)

    monkeypatch.setattr(run, "_app", app)
    monkeypatch.setattr(sys, "argv", ["run", *words])
    with pytest.raises(SystemExit):
        run.main()
    said = capsys.readouterr().err.splitlines()
    broke = [line for line in said if line.startswith("not done: protect bob")]
    assert len(broke) == 2
    for line in broke:
        assert re.search(r": it broke \(\S+/logs/protect-\w{8}\.log\)$", line)
    assert len(set(said)) == len(said)
    with together.failures_last(sweep.Sweep(found.jobs[:1], False)):
        pass
    for job in found.jobs[:2]:
        os.utime(Record.of([job], Store(world.root / "store")).folder / FAILURES, (1e9, 1e9))
    with together.failures_last(found):
        pass
    assert capsys.readouterr().err == ""


def test_a_stage_that_failed_is_not_tried_again_by_the_next_jobs(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of the sweep: whether that is given again, or jobs have none, everything may be mended."""
    for variable in (sweep.JOBS, sweep.NAME):
        monkeypatch.setenv(variable, "")
    words = ["-m", *world.overrides("attack=random", "purifier=none,jpeg,gaussian", *ALONE)]
    found = sweep.expand(words)
    sweep.tell_jobs(found, words)
    monkeypatch.setattr(run, "_grid", merged.Grid(run._show))
    monkeypatch.setattr(together.HydraConfig, "initialized", staticmethod(lambda: True))
    mode = SimpleNamespace(mode=RunMode.MULTIRUN)
    monkeypatch.setattr(together.HydraConfig, "get", staticmethod(lambda: mode))
    world.failing = {("protect", "bob")}

    def tried() -> int:
        return world.calls.count(("protect", "bob"))

    reasons = [{failure.reason for failure in run.launch(job)} for job in found.jobs]
    assert reasons == [{"it broke", "it needs a stage that failed"}] * 3 and tried() == 1
    capsys.readouterr()
    grid.show(grid._newest(world.root / "store"))
    assert capsys.readouterr().out.count("not done: protect bob") == 1
    for job in found.jobs:  # the same sweep once more
        assert run.launch(job)
    assert tried() == 2
    mode.mode = RunMode.RUN
    for job in found.jobs:
        assert run.launch(job)
    assert tried() == 5
    mode.mode, world.failing = RunMode.MULTIRUN, set()
    for job in found.jobs:
        assert run.launch(job) == []


def test_the_status_is_that_of_all_jobs_so_far(
    world: World,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = sweep.expand(words)
    sweep.tell_jobs(found, words)
    assert all(run.launch(job) for job in found.jobs[:2])
    monkeypatch.setattr(sys, "argv", ["grid", "status", str(world.root / "store")])
    capsys.readouterr()
    grid.main()
    said = " ".join(capsys.readouterr().out.split())
    assert "(2 of 3 jobs so far)" in said and said.count("not done: protect bob") == 2
