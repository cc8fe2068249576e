"""The entry: sweeps go on after a job that fails, and every mistake is said."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from diffshortcut import run
from diffshortcut.config import sweep

SCRIPT = textwrap.dedent("""
    from diffshortcut import run
    from diffshortcut.graph import cells
    from diffshortcut.errors import UserError

    def launch(overrides, **_):
        print(*overrides)
        [seed] = [word for word in overrides if word.startswith("seed=")]
        if seed in ("seed=0", "seed=3"):
            raise UserError(f"wrong {seed[-1]}")
        if seed == "seed=1":
            return [cells.Failure(cells.Task(stage="prior", config={}, seed=1), "it broke")]
        return []

    run.launch = launch
    run.main()
""")


def main(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, *words]
    env = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_every_job_of_a_sweep_runs_and_says_what_is_wrong(tmp_path: Path) -> None:
    done = main(tmp_path, "--multirun", "seed=0,1,2,3")
    assert done.stdout.split() == ["seed=0", "seed=1", "seed=2", "seed=3"]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for line in ("seed=0: wrong 0", "seed=1: stages not done: 1", "seed=3: wrong 3"):
        assert line in done.stderr.splitlines()
    assert "seed=2: " not in done.stderr and done.stderr.splitlines()[-1] == "error: wrong 0"


@pytest.mark.parametrize(("seeds", "stopped"), [("2,0,4", "seed=0"), ("2,1,4", "seed=1")])
def test_a_sweep_may_stop_at_the_first_that_fails(tmp_path: Path, seeds: str, stopped: str) -> None:
    done = main(tmp_path, "--multirun", f"seed={seeds}", "runtime.fail_fast=true")
    jobs = [word for word in done.stdout.split() if word.startswith("seed=")]
    assert done.returncode == 1 and jobs == ["seed=2", stopped]
    assert f"{stopped}" in done.stderr and "Traceback" not in done.stderr


def test_a_sweep_without_mistakes_is_a_success(tmp_path: Path) -> None:
    assert main(tmp_path, "seed=2,4", "-m").returncode == 0


def test_a_launcher_runs_one_job_too(tmp_path: Path) -> None:
    """Without -m Hydra would ignore it; only a job of a sweep says its words with its error."""
    table3 = ["experiment=table3", "hydra/launcher=graph"]
    assert sweep.with_launcher(table3) == ["-m", *table3]
    done = main(tmp_path, "seed=1", "hydra/launcher=basic")
    assert done.returncode == 1 and "seed=1: stages not done: 1" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--multirun", "attack=aspl", "hydra/launcher=graph"],
        ["--cfg=job", "hydra/launcher=graph"],
        ["purifier=jpeg,sr", "hydra/launcher=graph"],  # a chain or a grid?
        ["hydra.mode=RUN", "hydra/launcher=graph"],
        ["attack=aspl"],
    ],
)
def test_a_launcher_changes_no_other_command(words: list[str]) -> None:
    assert sweep.with_launcher(words) == words


def test_the_words_of_a_command_reach_it_as_written(tmp_path: Path) -> None:
    words = ["seed=2", "trainer.prior=${prior}", "trainer.prior_batch=1"]
    assert main(tmp_path, *words).stdout.split() == words


def test_a_sweep_of_nothing_is_a_mistake(tmp_path: Path) -> None:
    done = main(tmp_path, "-m", "seed=range(3,3)")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: a sweep of no jobs")


@pytest.mark.parametrize(("seed", "said"), [(0, "error: wrong 0\n"), (1, ""), (2, "")])
def test_one_job_ends_with_one_line(tmp_path: Path, seed: int, said: str) -> None:
    done = main(tmp_path, f"seed={seed}")
    assert (done.stderr, done.returncode) == (said, 0 if seed == 2 else 1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/x"), "error: /x: Permission denied"),
        (OSError("odd"), "error: odd"),
    ],
)
def test_an_error_of_the_system_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(run, "_app", fail)
    monkeypatch.setattr(sys, "argv", ["run"])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as stopped:
        run.main()
    assert str(stopped.value) == said
