"""Grids: the launcher that runs the merged stages of a sweep, on Ray or in this process."""

import importlib
import sys
from pathlib import Path

PLUGINS = Path(__file__).parent / "plugins"


def register() -> None:
    """Make hydra/launcher=graph known to Hydra.

    Hydra takes launchers from the namespace package hydra_plugins only; ours is a folder of it
    inside this package, so that nothing else has to be installed.
    """
    if str(PLUGINS) in sys.path:
        return
    sys.path.append(str(PLUGINS))
    importlib.invalidate_caches()
    from hydra.core.plugins import Plugins

    module = importlib.import_module("hydra_plugins.diffshortcut_graph")
    Plugins.instance().register(module.GraphLauncher)  # which may have looked before
