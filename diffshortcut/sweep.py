"""The jobs of a command line, as Hydra would launch them. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode

from diffshortcut import config
from diffshortcut.errors import UserError

FLAGS = {"-m", "--multirun"}


@dataclass(frozen=True)
class Sweep:
    """The overrides of each job, without Hydra's own; `many` if it is a sweep, even of one job."""

    jobs: list[list[str]]
    many: bool


def expand(words: Sequence[str]) -> Sweep:
    """The jobs of the words of a command line, in Hydra's order.

    A sweep is asked for by -m or --multirun, or by a config's hydra.mode and hydra.sweeper.params.
    Hydra's errors are raised, but for those of composing the jobs. UserError for a sweeper whose
    jobs are known only while it runs.
    """
    parser = OverridesParser.create()
    overrides = parser.parse_overrides([word for word in words if not word.startswith("-")])
    fixed = [str(one.input_line) for one in overrides if not one.is_sweep_override()]
    hydra = config.compose(fixed, hydra=True).hydra
    if not (FLAGS & set(words) or hydra.mode is RunMode.MULTIRUN):
        return Sweep([[str(one.input_line) for one in overrides if not _is_hydras(one)]], False)
    if not str(hydra.sweeper.get("_target_")).endswith(f".{BasicSweeper.__name__}"):
        raise UserError("the jobs of this sweeper are known only while it runs")
    listed = (hydra.sweeper.get("params") or {}).items()
    swept = parser.parse_overrides([f"{key}={value}" for key, value in listed])
    wanted = [one for one in [*swept, *overrides] if not _is_hydras(one)]
    [jobs] = BasicSweeper.split_arguments(wanted, None)
    return Sweep(jobs, True)


def _is_hydras(override: Override) -> bool:
    return override.key_or_group.startswith(("hydra.", "hydra/"))
