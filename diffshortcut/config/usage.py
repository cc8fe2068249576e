"""What the command line says: help, and one line for each mistake."""

import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from diffshortcut.config import catalog, config, frame
from diffshortcut.errors import UserError, exit_on_mistake, listed

CONFIG_ERRORS = (HydraException, OmegaConfBaseException)
HELP = """DiffShortcut: does a protection against personalized diffusion survive a defense?

  python -m diffshortcut.run attack=metacloak purifier=ours

Groups: choose with group=option, chain purifiers and metrics with purifier=[jpeg,sr]

{groups}

hydra/launcher: what runs the jobs of a sweep
{launchers}

Options of graph
{graph}

Values: change any with key=value
{values}

--cfg job shows the whole config, --multirun runs a grid (attack=aspl,metacloak), on all GPUs with
the option hydra/launcher=graph. --verify reads the content of what is finished. HYDRA_FULL_ERROR=1
shows where an error comes from, --hydra-help shows the rest.
eval "$(diffshortcut -sc install=bash)" (or zsh, fish) completes words.
"""
LAUNCHERS = (
    ("basic", "one job after the other; the default"),
    ("graph", "all jobs as one graph of stages, on all cores or GPUs, or on a Ray cluster"),
    ("joblib", "jobs in several processes, such as hydra.launcher.n_jobs=2; needs [grid]"),
    ("submitit_slurm", "a Slurm job per job; needs [grid]"),
    ("submitit_local", "as submitit_slurm, on this machine; needs [grid]"),
)
FOR_HELP = {"--help", "-h"}
VERIFY = "--verify"  # check the content of every artifact, whatever the index says
SHOWN = ("data", "attack", "seed", "runtime")


def help_text(graph: Iterable[tuple[str, str]]) -> str:
    """Every group with what it is, every option in a line, and the values one changes most.

    `graph`: the options of the launcher of that name, each with what it is.
    """
    about = _remarks((catalog.folder() / "config.yaml").read_text())
    groups = "\n\n".join(
        "\n".join([f"{group}: {about.get(group, '')}".rstrip(": "), *map(_option, options)])
        for group, options in catalog.descriptions().items()
    )
    cfg = config.resolve(config.compose(["attack=random", "data=portraits"]))
    shown = config.leaves({name: cfg[name] for name in SHOWN})
    values = "\n".join(f"  {key}={value}" for key, value in shown if "_target_" not in key)
    launchers = "\n".join(map(_option, LAUNCHERS))
    options = "\n".join(map(_option, graph))
    return HELP.format(groups=groups, values=values, launchers=launchers, graph=options)


def _option(described: tuple[str, str]) -> str:
    option, description = described
    return f"  {option:<30} {description}".rstrip()


def _remarks(text: str) -> dict[str, str]:
    """What the comments of a defaults list say of its groups."""
    found = re.findall(r"^  - (?:override )?(\w+): .*?  # (.*)$", text, re.MULTILINE)
    own = {group: remark.partition(";")[0] for group, remark in found}
    chosen = {"model": "the victim's model", "precision": "how models compute"}
    by_zoo = {
        group: f"{what}, which the zoo chooses unless you do" for group, what in chosen.items()
    }
    return {**by_zoo, **own}


def check_flags(words: Sequence[str], known: Sequence[str]) -> None:
    """UserError for a word that begins with - and is not `known`."""
    for word in words:
        if word.startswith("-") and word not in known:
            raise UserError(f"no option '{word}'.{listed(word, known)}")


def check_run_flags(words: Sequence[str], ours: Sequence[str]) -> None:
    """UserError for a word with -- that is neither Hydra's, which may be shortened, nor `ours`."""
    known = [*get_args_parser()._option_string_actions, *ours]
    named = [word.partition("=")[0] for word in words if word.startswith("--")]
    check_flags([n for n in named if not any(option.startswith(n) for option in known)], known)


def refuse_nested_sweeps(words: Sequence[str]) -> None:
    """UserError for experiments in a sweep of which one is a sweep itself: its jobs were left out.

    What cannot be parsed or composed is left to Hydra.
    """
    named = [word for word in words if word.lstrip("+").startswith("experiment=")]
    with suppress(*CONFIG_ERRORS):
        for one in OverridesParser.create().parse_overrides(named):
            options = list(one.sweep_string_iterator()) if one.is_sweep_override() else []
            for option in options:
                cfg = config.compose([f"experiment={option}"], hydra=True)
                if cfg.hydra.mode is RunMode.MULTIRUN:
                    raise UserError(
                        f"experiment={','.join(options)}: {option} is a sweep of its own;"
                        " give each experiment a command"
                    )


def command(words: Iterable[str]) -> str:
    """The run of these words, as it is written in a shell."""
    return shlex.join(["python", "-m", "diffshortcut.run", *words])


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """One line for an error of composing, with the close match where there is one."""
    message = str(error)
    if isinstance(error, MissingConfigException) and (
        found := re.search(r"Could not (?:find|load) '((?:hydra/)?[^'/]+)/([^']+)'", message)
    ):
        return _wrong_option(found[1], found[2], error.options or ())
    full = f"{message}\n{error.__cause__}"
    if re.search(r"Key '.*' (is )?not in ", full) and (
        found := re.search(r"full_key: (\S+)", full)
    ):
        return _wrong_key(found[1], overrides)
    if isinstance(error, OverrideParseException):
        return _unreadable(error)
    if found := re.search(r"Ambiguous value for argument '([^=']+)=([^']*)'", message):
        return _ambiguous(found[1], found[2])
    return f"{message.splitlines()[0]} ({' '.join(overrides)})"


def line(error: BaseException, overrides: Sequence[str]) -> str:
    """One line for an error, with what its kind tells."""
    if isinstance(error, CONFIG_ERRORS):
        return explain(error, overrides)
    if isinstance(error, YAMLError):
        return " ".join(str(error).split())
    if isinstance(error, SyntaxError):  # a plug-in's
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def one_line(overrides: Sequence[str], *, traced: bool = False) -> AbstractContextManager[None]:
    """End the program with one line for a mistake in its words or files, or when it is interrupted.

    `traced`: the error itself is raised.
    """
    kinds = () if traced else (UserError, *CONFIG_ERRORS, YAMLError, SyntaxError, OSError)
    again = "interrupted: the same command goes on from here"
    return exit_on_mistake(kinds, lambda error: line(error, overrides), again)


def _ambiguous(key: str, values: str) -> str:
    """Several values without a word on whether they are a grid or a chain."""
    chain = f", or {key}=[{values}] for a chain" if key in catalog.CHAINED else ""
    return f"{key}={values} are several values: add -m for a run with each{chain}"


def _unreadable(error: OverrideParseException) -> str:
    """Which value it is; an = inside it, or a letter that Hydra has no rule for, is usual."""
    key, _, value = error.override.partition("=")
    hint = ""
    if "=" in value:
        hint = " An = inside a list needs quotes: overrides: ['purifier=jpeg']"
    elif " " in value or not value.isascii():
        each = ",".join(f'"{part.strip()}"' for part in value.strip("[]").split(","))
        quoted = f"[{each}]" if value.startswith("[") else f'"{value}"'
        hint = f" A space or a letter such as é needs quotes inside quotes: '{key}={quoted}'"
    return f"{error.override} cannot be read as a value.{hint}"


def _wrong_option(group: str, option: str, known: Sequence[str]) -> str:
    if group == "hydra/launcher" and option in dict(LAUNCHERS):
        return f"{group}={option} is not installed: pip install 'diffshortcut[grid]'"
    options = catalog.groups().get(group, known)  # Hydra knows its own
    return f"no {group} '{option}'.{listed(option, options)}"


def _wrong_key(key: str, overrides: Sequence[str]) -> str:
    *above, last = key.split(".")
    others = [o for o in overrides if not o.lstrip("+~").startswith((f"{key}=", f"{key}@"))]
    choices: list[str] = []
    with suppress(*CONFIG_ERRORS):
        others = [o for o in others if not o.startswith(("hydra.", "-"))]
        cfg = config.compose(others, hydra=above[:1] == ["hydra"])
        node = OmegaConf.select(cfg, ".".join(above)) if above else cfg
        choices = [str(name) for name in node] if isinstance(node, DictConfig) else []
        choices = [name for name in choices if name != "_target_" or above[:1] != ["hydra"]]
    choices = sorted({*choices, *(() if above else catalog.groups())})
    place = ".".join(above) or "the config"
    if frame.TYPES.get(place, "").startswith("dict"):  # its keys are the user's
        return f"{place} has no key '{last}'. To add it: +{key}=..."
    return f"{place} has no key '{last}'.{listed(last, choices)}"
