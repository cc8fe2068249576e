"""What the command line offers before it runs: help and completion."""

import os
import subprocess
import sys

import pytest
import yaml

from diffshortcut import catalog, completion, usage
from diffshortcut.errors import UserError, told


def test_every_group_and_option_is_described_in_a_line():
    text = usage.help_text()
    for group, options in catalog.descriptions().items():
        assert f"\n{group}: " in text
        for option, description in options:
            assert len(description) > 5 and f"  {option:<30} {description}\n" in text
            assert description[-1] not in ",;:" and "@package" not in description


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
        ("attack=aspl,pi", ["attack=aspl,pid"]),
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


@pytest.mark.parametrize("ended", [usage.one_line([]), told()])
def test_an_interruption_is_no_traceback(ended):
    with pytest.raises(SystemExit, match="^interrupted"), ended:
        raise KeyboardInterrupt
