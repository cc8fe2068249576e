"""hydra/launcher=graph is a launcher as Hydra asks of one, for applications that are not ours."""

import sys

import pytest
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

from diffshortcut import launch

launch.register()
BATCHED = ["hydra/sweeper=basic", "hydra.sweeper.max_batch_size=2"]


@pytest.mark.parametrize(("launcher_name", "overrides"), [("graph", [])])
class TestGraphLauncher(LauncherTestSuite):
    """Sweeps."""


@pytest.mark.parametrize(("launcher_name", "overrides"), [("graph", BATCHED)])
class TestGraphLauncherInBatches(BatchedSweeperTestSuite):
    """Sweeps, two jobs at a time."""


@pytest.mark.slow  # every case is a process, which needs PYTHONPATH=diffshortcut/launch/plugins
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=graph"])]
)
class TestGraphLauncherAsAProcess(IntegrationTestSuite):
    """Applications of their own, called as commands."""

    @pytest.fixture(autouse=True)
    def path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", str(launch.PLUGINS))


def test_it_is_registered_once() -> None:
    launch.register()
    assert sys.path.count(str(launch.PLUGINS)) == 1
