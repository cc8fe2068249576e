"""What the command line offers before it runs: help and completion."""

import os
import re
import subprocess
import sys

import pytest
import yaml
from hydra.errors import HydraException, MissingConfigException

from diffshortcut import launch, plan, run
from diffshortcut.config import catalog, completion, config, usage
from diffshortcut.errors import UserError, exit_on_mistake
from diffshortcut.launch.options import Options


def test_every_group_and_option_is_described_in_a_line():
    text = usage.help_text([])
    for group, options in catalog.descriptions().items():
        assert f"\n{group}: " in text
        for option, description in options:
            assert len(description) > 5 and f"  {option:<30} {description}\n" in text
            assert description[-1] not in ",;:" and "@package" not in description
            assert all(description.count(a) == description.count(b) for a, b in ("()", "[]"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("What is left? (Table 3). Before: ASPL of", "What is left? (Table 3)."),
        ("A person or noise? (Figure 2; no model is", "A person or noise?"),
        ("half (0.5 of [-1, 1]), pure bfloat16", "half (0.5 of [-1, 1])"),
        ("a guess (none was released, it says): r/255", "a guess (none was released, it says)"),
        ("the release (half of it, and", "the release"),
        ("sigma in [0, 1] and the nearer", "sigma in [0, 1] and the nearer"),
    ],
)
def test_a_description_ends_with_a_sentence_or_a_clause(line, said):
    assert catalog._shortened(line) == said


def test_the_launchers_and_the_graphs_options_are_described():
    text = usage.help_text(launch.option_descriptions())
    graph = config.compose(["hydra/launcher=graph"], hydra=True).hydra.launcher
    assert {*graph} == {"_target_", *Options.__annotations__}
    for key, value in graph.items():
        said = {None: "null", True: "true"}.get(value, value)
        assert key == "_target_" or re.search(rf"^  hydra.launcher.{key}={said} +\w", text, re.M)
    for name, _ in usage.LAUNCHERS:
        assert re.search(rf"^  {name} +\w", text, re.M)


def test_a_wrong_option_of_the_launcher_has_a_suggestion():
    launch.register()
    words = ["hydra/launcher=graph", "hydra.launcher.wrkers=2"]
    with pytest.raises(HydraException) as wrong:
        config.compose(words, hydra=True)
    said = usage.explain(wrong.value, words)
    assert said.startswith("hydra.launcher has no key 'wrkers'. Did you mean 'workers'?")


@pytest.mark.parametrize(
    ("word", "said"), [("--verfy", "--verify"), ("--multirn", "--multirun"), ("--cgf=job", "--cfg")]
)
def test_a_wrong_flag_has_a_suggestion(word, said, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")
    monkeypatch.setattr(sys, "argv", ["run", word, "attack=random"])
    with pytest.raises(SystemExit, match=f"Did you mean '{said}'"):
        run.main()
    usage.check_run_flags(["--multi", "--cfg=job", "-m", "--version"], ["--verify"])


@pytest.mark.parametrize(("command", "name"), [(run, "run"), (plan, "plan")])
def test_a_sweep_of_sweeps_is_refused(command, name, monkeypatch):
    """Hydra would take each as one job and pass over what it sweeps."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")
    monkeypatch.setattr(sys, "argv", [name, "-m", "experiment=table3,figure8"])
    with pytest.raises(SystemExit, match="figure8 is a sweep of its own"):
        command.main()
    usage.refuse_nested_sweeps(["experiment=table3,table4"])
    usage.refuse_nested_sweeps(["experiment=figure8", "attack=aspl,pid"])


def test_a_sweeps_folder_is_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/h")
    assert run._at_home(["runtime.outputs='~/my res'"]) == ["hydra.sweep.dir='/h/my res/multirun'"]
    assert run._at_home(["runtime.outputs=~/r", "hydra.sweep.dir=here"]) == []
    assert run._at_home(["runtime.outputs=out"]) == []


@pytest.mark.parametrize(
    ("word", "offered"),
    [
        (
            "attack=aspl",
            ["attack=aspl", "attack=aspl/official", "attack=aspl/strong", "attack=aspl/targeted"],
        ),
        ("attack=aspl/o", ["attack=aspl/official"]),
        ("purifier=[jpeg,jp", []),  # a link stands once
        ("purifier=[sr,jp", ["purifier=[sr,jpeg"]),
        ("attack=aspl,pi", ["attack=aspl,pid", "attack=aspl,pid/official"]),
        ("+experiment=q", ["+experiment=quickstart"]),
        ("attack=unknown", []),
        ("attack.radius=", None),
        ("data.root=./x", None),
    ],
)
def test_options_of_a_word(word, offered):
    assert completion.options(word) == offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("attack=gaussian", []),
        ("purifier=gaussian/", ["purifier=gaussian/legacy"]),
        ("attack=aspl attack.ra", ["attack.radius="]),
        ("surr", ["surrogate=", "surrogate_prior."]),
        ("hydra/launcher=gr", ["hydra/launcher=graph"]),
    ],
)
def test_the_shell_is_answered(line, offered):
    environment = {**os.environ, "COMP_LINE": f"diffshortcut {line}", "COMP_POINT": "0"}
    command = [sys.executable, "-m", "diffshortcut.run", "-sc", "query=bash"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == offered


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("so"), "so"),
        (yaml.YAMLError("at\n  line 3"), "at line 3"),
        (SyntaxError("bad", ("mine.py", 3, 1, "")), "mine.py, line 3: bad"),
        (PermissionError(13, "denied", "/x"), "/x: denied"),
        (OSError("odd"), "odd"),
    ],
)
def test_every_command_says_an_error_alike(error, said):
    with pytest.raises(SystemExit) as stopped, usage.one_line([]):
        raise error
    assert str(stopped.value) == f"error: {said}"
    with pytest.raises(type(error)), usage.one_line([], traced=True):
        raise error


def test_a_launcher_of_an_extra_names_it():
    missing = MissingConfigException("Could not find 'hydra/launcher/joblib'")
    said = usage.explain(missing, [])
    assert said == "hydra/launcher=joblib is not installed: pip install 'diffshortcut[grid]'"


@pytest.mark.parametrize("ended", [usage.one_line([]), exit_on_mistake()])
def test_an_interruption_is_no_traceback(ended):
    with pytest.raises(SystemExit, match="^interrupted"), ended:
        raise KeyboardInterrupt
