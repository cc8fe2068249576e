"""hydra/launcher=graph is a launcher as Hydra asks of one, for applications that are not ours."""

import sys
from collections.abc import Iterator

import pytest
from hydra import version
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

from diffshortcut import launch

launch.register()


@pytest.fixture(autouse=True)
def the_suites_version() -> Iterator[None]:
    """The suite counts on the behavior of Hydra 1.1; importing our entry asks for that of 1.3."""
    version.setbase("1.1")
    yield
    version.setbase("1.3")


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of Hydra, about Hydra
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
