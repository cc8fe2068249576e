"""Grids: the launcher that runs the merged stages of a sweep, on Ray or in this process."""

import importlib
import json
import os
import sys
from dataclasses import fields
from pathlib import Path

PLUGINS = Path(__file__).parent / "plugins"
PLUGIN = "hydra_plugins.diffshortcut_graph"


def register() -> None:
    """Make hydra/launcher=graph known to Hydra.

    Hydra takes launchers from the namespace package hydra_plugins only; ours is a folder of it
    inside this package, so that nothing else has to be installed. Other launchers send what Hydra
    knows to their processes, which therefore have to find it too.
    """
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(PLUGINS) not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, known), str(PLUGINS)])
    if PLUGIN in sys.modules:
        return
    if str(PLUGINS) not in sys.path:
        sys.path.append(str(PLUGINS))
    importlib.invalidate_caches()
    from hydra.core.plugins import Plugins

    module = importlib.import_module(PLUGIN)
    Plugins.instance().register(module.GraphLauncher)  # which may have looked before


def option_descriptions() -> list[tuple[str, str]]:
    """The launcher's options with their defaults, as a command line gives them, and their help."""
    register()
    return [
        (f"hydra.launcher.{each.name}={json.dumps(each.default)}", each.metadata["help"])
        for each in fields(sys.modules[PLUGIN].GraphConf)
        if "help" in each.metadata
    ]
