"""The entry: `python -m diffshortcut.run attack=metacloak purifier=ours`."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from diffshortcut import arms, cells, config, own_photos, results, trusted, usage
from diffshortcut.errors import UserError
from diffshortcut.lease import guard
from diffshortcut.own_photos import OwnPhotos
from diffshortcut.results import Comparison
from diffshortcut.store import Store, check_writable, user_errors

log = logging.getLogger(__name__)
QUIET = {  # the libraries' own bars and notes would hide ours
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def main() -> None:
    """Run the command line; a mistake in it is one line and exit code 1."""
    overrides = [word for word in sys.argv[1:] if not word.startswith("-")]
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(usage.help_text())
        return
    traced = bool(os.environ.get("HYDRA_FULL_ERROR"))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra pass its errors on to here
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's: tidy up, as for ^C
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    first = next((i for i, word in enumerate(sys.argv) if "=" in word), 1)
    try:
        sys.argv[first:first] = config.search_path()
        config.refuse_null(overrides)  # before Hydra does in its own words
        trusted.check(overrides)  # before Hydra imports it
        _app()
    except (UserError, *usage.CONFIG_ERRORS) as error:
        if traced:
            raise
        sys.exit(f"error: {_line(error, overrides)}")
    except yaml.YAMLError as error:
        if traced:
            raise
        sys.exit(f"error: {' '.join(str(error).split())}")
    except SyntaxError as error:  # a plug-in's
        if traced:
            raise
        sys.exit(f"error: {error.filename}, line {error.lineno}: {error.msg}")
    except OSError as error:  # Hydra could not make its folder
        if traced:
            raise
        known = error.filename and error.strerror
        sys.exit(f"error: {error.filename}: {error.strerror}" if known else f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from here")


@hydra.main(version_base="1.3", config_path=str(config.folder()), config_name="config")
def _app(_: DictConfig) -> None:
    overrides = list(HydraConfig.get().overrides.task)
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        _launch_one_of_many(overrides)
        return
    try:
        failures = launch(overrides)
    except UserError as error:
        sys.exit(f"error: {error}")
    if failures:
        sys.exit(1)


def _launch_one_of_many(overrides: Sequence[str]) -> None:
    """Say now what is wrong: after all jobs Hydra passes on the first one's error only."""
    try:
        if failures := launch(overrides):
            raise UserError(f"stages not done: {len(failures)}")
    except Exception as error:
        known = isinstance(error, (UserError, *usage.CONFIG_ERRORS))
        log.error("%s: %s", " ".join(overrides), _line(error, overrides), exc_info=not known)
        raise


def _line(error: Exception, overrides: Sequence[str]) -> str:
    return usage.explain(error, overrides) if isinstance(error, usage.CONFIG_ERRORS) else str(error)


def launch(overrides: Sequence[str]) -> list[cells.Failure]:
    """Compose the arms, run what is missing, report; what could not be done is returned."""
    comparison = plan(overrides)
    folder, runtime = comparison.folder(overrides), comparison.config["runtime"]
    runtime = {**runtime, "checkpoint_minutes": comparison.config["checkpoint"]["minutes"]}
    failures: list[cells.Failure] = []
    if not results.is_complete(folder):
        store = Store(Path(runtime["store"]))
        for place in (folder.parent, store.root):
            check_writable(place)
        failures = cells.run(_tasks(comparison), store=store, runtime=runtime)
        for failure in failures:
            log.error("not done: %s: %s", failure.task.title, failure.reason)
        with user_errors(folder), guard(folder):  # others may write the same results
            if not results.is_complete(folder):
                _write(comparison, failures, store, folder, overrides)
    module = own_photos if isinstance(comparison, OwnPhotos) else results
    module.show(folder, complete=not failures)
    return failures


def _write(
    comparison: Comparison,
    failures: Sequence[cells.Failure],
    store: Store,
    folder: Path,
    overrides: Sequence[str],
) -> None:
    if isinstance(comparison, OwnPhotos):
        own_photos.write(comparison, failures, store, folder, overrides)
    else:
        results.write(comparison, failures, store, folder, overrides)


def plan(overrides: Sequence[str]) -> Comparison:
    """The arms of a command line, its people and all their cells."""
    composed = arms.compose(overrides)
    people = config.build(composed[-1].config["data"], "data")
    planned = {
        arm.name: {person.name: cells.plan(arm.config, person) for person in people}
        for arm in composed
    }
    kind = Comparison if composed[-1].config["stages"] == "all" else OwnPhotos
    return kind(composed, people, planned)


def _tasks(comparison: Comparison) -> list[cells.Task]:
    tasks = cells.merge(cell for of_arm in comparison.cells.values() for cell in of_arm.values())
    names = ", ".join(arm.name for arm in comparison.arms)
    log.info("arms: %s | people: %d | stages: %d", names, len(comparison.people), len(tasks))
    return tasks


if __name__ == "__main__":
    main()
