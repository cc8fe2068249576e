"""hydra/launcher=graph: Hydra's basic launcher, after the application has run its merged graph.

Every application can be launched. One that shares work between its jobs says so by an attribute
`grid` of its task function (diffshortcut.launch.merged.Grid).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, configure_log


def _said(default: Any, remark: str) -> Any:
    """A field with what --help says of it."""
    return field(default=default, metadata={"help": remark})


@dataclass
class GraphConf:
    """Options of the launcher: hydra.launcher.workers=4 ..."""

    _target_: str = "hydra_plugins.diffshortcut_graph.GraphLauncher"
    workers: int | None = _said(None, "null: one per GPU, or per runtime.threads cores; 0: no Ray")
    address: str | None = _said(
        None, "of a Ray cluster, such as auto; null: a local one, on loopback"
    )
    retries: int = _said(3, "of a stage whose worker was lost")
    light_gpu: float = _said(
        0.25, "of a GPU, for a second worker of stages without a model; 0: none"
    )
    confirm: bool = _said(True, "on a terminal, ask before more than an hour of work")


ConfigStore.instance().store(
    group="hydra/launcher", name="graph", node=GraphConf, provider="diffshortcut"
)


class GraphLauncher(BasicLauncher):
    """Let the application's grid do the shared work, then launch what is not answered by it."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """One return per job, in order; a job that has been answered already is complete."""
        grid = getattr(self.task_function, "grid", None)
        if grid is None:
            return super().launch(job_overrides, initial_job_idx)
        self._log_as_a_job()
        grid.prepare(job_overrides, self.options)
        logging.getLogger(BasicLauncher.__module__).setLevel(logging.WARNING)  # "1 jobs" each time
        returns: list[JobReturn] = []
        for number, job in enumerate(job_overrides, initial_job_idx):
            if grid.answer(job):
                returns.append(JobReturn(overrides=list(job), status=JobStatus.COMPLETED))
            else:
                returns += super().launch([job], number)
        self._log_as_a_job()
        grid.finish()
        return returns

    def _log_as_a_job(self) -> None:
        """What the grid says is for the eyes that read what its jobs say."""
        assert self.config is not None
        configure_log(self.config.hydra.job_logging, self.config.hydra.verbose)
