"""The jobs of a command line, as Hydra would launch them. No torch."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep
from hydra.errors import HydraException
from hydra.types import RunMode

from diffshortcut.artifacts import keys
from diffshortcut.config import catalog, config
from diffshortcut.errors import UserError

FLAGS = {"-m", "--multirun"}
JOBS = "DIFFSHORTCUT_JOBS"  # in the environment of a sweep's jobs: how many they are
NAME = "DIFFSHORTCUT_SWEEP"  # in their environment: what they are called together
MERGING = "GraphLauncher"
ASKING = {"BasicLauncher", MERGING}  # launchers that can ask whoever sits at the terminal
MOST = 100_000  # jobs, which are all listed before the first


@dataclass(frozen=True)
class Sweep:
    """The overrides of each job, without Hydra's own; `many` if it is a sweep, even of one job.

    `away` if its launcher hands them to other processes, where nobody can be asked; `merged` if it
    makes one graph of them.
    """

    jobs: list[list[str]]
    many: bool
    away: bool = False
    merged: bool = False


def expand(words: Sequence[str]) -> Sweep:
    """The jobs of the words of a command line, in Hydra's order.

    A sweep is asked for by -m or --multirun, or by a config's hydra.mode and hydra.sweeper.params.
    Hydra's errors are raised, but for those of composing the jobs. UserError for a sweeper whose
    jobs are known only while it runs.
    """
    overrides = _listed(_parsed(words))
    _check_number(overrides)
    fixed = [str(one.input_line) for one in overrides if not one.is_sweep_override()]
    hydra = config.compose(fixed, hydra=True).hydra
    if not (FLAGS & set(words) or hydra.mode is RunMode.MULTIRUN):
        return Sweep([[str(one.input_line) for one in overrides if not _is_hydras(one)]], False)
    if not str(hydra.sweeper.get("_target_")).endswith(f".{BasicSweeper.__name__}"):
        raise UserError("the jobs of this sweeper are known only while it runs")
    listed = (hydra.sweeper.get("params") or {}).items()
    swept = _listed(_parsed([f"{key}={value}" for key, value in listed]))
    wanted = [one for one in [*swept, *overrides] if not _is_hydras(one)]
    [jobs] = BasicSweeper.split_arguments(wanted, None)
    launcher = str(hydra.launcher.get("_target_")).rpartition(".")[2]
    return Sweep(jobs, True, away=launcher not in ASKING, merged=launcher == MERGING)


def tell_jobs(found: Sweep | None, words: Sequence[str] = ()) -> None:
    """Let jobs know, wherever they run, how many they are, as their claims are one family.

    And the name of the command of these `words`, which tells them that they belong together.
    """
    for variable in (JOBS, NAME):
        os.environ.pop(variable, None)
    if found and found.many and len(found.jobs) > 1:
        os.environ[JOBS] = str(len(found.jobs))
    if ours := [word for word in words if "=" in word and not word.startswith("hydra")]:
        os.environ[NAME] = f"sweep-{keys.digest(ours)[:8]}"


def name() -> str | None:
    """A name that the jobs of a command share; None of one without words."""
    return os.environ.get(NAME)


def jobs() -> int:
    """How many jobs the sweep has that this one is part of; 1 of none."""
    return int(os.environ.get(JOBS, 1))


def part() -> dict[str, Any] | None:
    """Name and number of jobs of the sweep that this job is part of; None of none."""
    return {"name": name(), "jobs": jobs()} if name() and jobs() > 1 else None


def flags_first(words: Sequence[str]) -> list[str]:
    """The words with -m before the others, behind which Hydra's parser does not take it."""
    return sorted(words, key=lambda word: word not in FLAGS)


def with_launcher(words: Sequence[str]) -> list[str]:
    """The words, with -m if they choose a launcher for one job: without a sweep Hydra ignores it.

    Several values without -m are left to Hydra, which asks what they mean; flags show something.
    """
    chosen = any(word.partition("=")[0].lstrip("+") == "hydra/launcher" for word in words)
    asked = any(word.startswith(("-", "hydra.mode=")) for word in words)
    with suppress(HydraException):
        if chosen and not asked and not any(o.is_sweep_override() for o in _parsed(words)):
            return ["-m", *words]
    return list(words)


def refuse_too_many(words: Sequence[str]) -> None:
    """UserError for more jobs than anybody can mean; what cannot be parsed is left to Hydra."""
    with suppress(HydraException):
        _check_number(_parsed(words))


def _parsed(words: Sequence[str]) -> list[Override]:
    """Of what is no flag."""
    return OverridesParser.create().parse_overrides([w for w in words if not w.startswith("-")])


def _listed(overrides: Sequence[Override]) -> list[Override]:
    """With the options that a glob stands for: only a running Hydra could look them up."""
    found = []
    for one in overrides:
        if isinstance(pattern := one.value(), Glob) and one.key_or_group in catalog.groups():
            there = catalog.groups()[one.key_or_group]
            options = pattern.filter([name for name in there if "/" not in name])
            if not options:
                raise UserError(f"{one.input_line}: no option of {one.key_or_group} is like that")
            found += _parsed([f"{one.input_line}".partition("=")[0] + f"={','.join(options)}"])
        else:
            found.append(one)
    return found


def _check_number(overrides: Sequence[Override]) -> None:
    jobs = prod(_length(one.value()) for one in overrides)
    if not jobs:
        raise UserError("a sweep of no jobs: its range ends where it begins, or runs backwards")
    if jobs > MOST:
        raise UserError(f"a sweep of {jobs} jobs: {MOST} are the most")


def _length(value: Any) -> int:
    if isinstance(value, ChoiceSweep):
        return sum(_length(one) for one in value.list)
    if not isinstance(value, RangeSweep):
        return 1
    start, stop, step = (float(x or 0) for x in (value.start, value.stop, value.step))
    return max(0, ceil((stop - start) / step)) if step else 1


def _is_hydras(override: Override) -> bool:
    return override.key_or_group.startswith(("hydra.", "hydra/"))
