"""The entry: `python -m diffshortcut.run attack=metacloak purifier=ours`."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from diffshortcut import launch as launch_plugin
from diffshortcut import parallel, progress
from diffshortcut.artifacts.lease import guard
from diffshortcut.artifacts.store import Store
from diffshortcut.config import catalog, completion, config, sweep, trusted, usage
from diffshortcut.disk import check_writable, user_errors
from diffshortcut.errors import UserError
from diffshortcut.graph import cells, device, execute
from diffshortcut.job import command, index, results
from diffshortcut.job.own_photos import OwnPhotos
from diffshortcut.job.results import Comparison
from diffshortcut.launch.announce import NotBegunError
from diffshortcut.launch.merged import Grid, is_to_do
from diffshortcut.launch.record import failure_line
from diffshortcut.launch.together import failures_last

log = logging.getLogger(__name__)


def main() -> None:
    """Run the command line; a mistake in it is one line and exit code 1."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` may read no further
        print(usage.help_text(launch_plugin.option_descriptions()))
        return
    if set(completion.ASKED) & set(sys.argv[1:]):
        completion.extend()
        launch_plugin.register()
        _app()
        return
    traced = bool(os.environ.get("HYDRA_FULL_ERROR"))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra pass its errors on to here
    for name in (signal.SIGTERM, signal.SIGHUP):  # a scheduler's, a closed terminal's: as ^C
        if signal.getsignal(name) is not signal.SIG_IGN:  # nohup's
            signal.signal(name, signal.default_int_handler)
    progress.quiet_libraries()
    if usage.VERIFY in sys.argv:
        sys.argv.remove(usage.VERIFY)
        os.environ[index.VERIFYING] = "1"  # for the jobs of a sweep too, wherever they run
    overrides: list[str] = []
    with usage.one_line(overrides, traced=traced):
        usage.check_run_flags(sys.argv[1:], [usage.VERIFY, *usage.FOR_HELP])
        sys.argv[1:] = sweep.with_launcher(sweep.flags_first(catalog.adopt(sys.argv[1:])))
        overrides += trusted.words(sys.argv[1:])
        config.refuse_values(overrides)  # before Hydra does in its own words
        sweep.refuse_too_many(overrides)
        launch_plugin.register()
        usage.refuse_nested_sweeps(overrides)
        found = _expanded(sys.argv[1:])
        sweep.tell_jobs(found, overrides)
        if not (found and _answered(found)):
            trusted.check(overrides)  # before Hydra imports it
            if found and found.away:
                logging.basicConfig(level=logging.INFO, format="%(message)s")  # until Hydra's
                _grid.ask(found.jobs)
            first = next((i for i, word in enumerate(sys.argv) if i and "=" in word), 1)
            sys.argv[first:first] = [*catalog.search_path(), *_at_home(overrides)]
            with failures_last(found):
                _app()


def _at_home(words: Sequence[str]) -> list[str]:
    """Where Hydra is to make the folder of a sweep, if the words' ~ means the home."""
    given = config.given(words)
    outputs = given.get("runtime.outputs", "").strip("'\"")
    if not outputs.startswith("~") or "hydra.sweep.dir" in given:
        return []
    folder = str(Path(outputs).expanduser() / "multirun").replace("'", r"\'")
    return [f"hydra.sweep.dir='{folder}'"]


def _expanded(words: Sequence[str]) -> sweep.Sweep | None:
    """The jobs of what may be a sweep: as an experiment may, too. None if only Hydra knows them."""
    flags = {word for word in words if word.startswith("-")}
    if flags - sweep.FLAGS or not (flags or "experiment" in config.given(words)):
        return None
    try:
        return sweep.expand(words)
    except (UserError, *usage.CONFIG_ERRORS):
        return None  # Hydra knows more kinds of sweeps, or says what is wrong


def _answered(found: sweep.Sweep) -> bool:
    """Show what the index holds, if that is all of a sweep: Hydra would compose every job first."""
    entries = [entry for job in found.jobs if (entry := index.find(job))]
    if not found.many or len(entries) < len(found.jobs):
        return False
    if parallel.in_charge():
        for entry in entries:
            _show(entry)
    return True


def _show(entry: index.Entry) -> None:
    kind = OwnPhotos if entry.kind == OwnPhotos.__name__ else Comparison
    kind.show(Path(entry.folder), complete=True)


@hydra.main(version_base="1.3", config_path=str(catalog.folder()), config_name="config")
def _app(cfg: DictConfig) -> None:
    overrides = config.written(HydraConfig.get())
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        _launch_one_of_many(overrides, fail_fast=cfg.runtime.fail_fast)
        return
    try:
        failures = launch(overrides, ask=True)
    except UserError as error:
        sys.exit(f"error: {error}")
    if failures:
        sys.exit(1)


def _launch_one_of_many(overrides: Sequence[str], *, fail_fast: bool) -> None:
    """Say now what is wrong: after all jobs Hydra passes on the first one's error only.

    With `fail_fast` it ends the process of Hydra's own launcher, which would go on after an error.
    """
    try:
        if failures := launch(overrides, ask=True):
            raise UserError(f"stages not done: {len(failures)}")
    except NotBegunError as error:  # said of all jobs
        sys.exit(f"error: {error}")
    except Exception as error:
        known = isinstance(error, (UserError, *usage.CONFIG_ERRORS))
        log.error("%s: %s", " ".join(overrides), usage.line(error, overrides), exc_info=not known)
        if fail_fast and str(HydraConfig.get().launcher.get("_target_")).endswith(".BasicLauncher"):
            sys.exit(1)
        raise


def launch(overrides: Sequence[str], *, ask: bool = False) -> list[cells.Failure]:
    """Compose the arms, run what is missing, report; what could not be done is returned.

    With `ask` more than an hour of work, with that of the sweep's other jobs, is asked for on a
    terminal.
    Of several processes under a launcher the first does so; the others only train along.
    """
    if not parallel.launched():
        return _launch(overrides, ask=ask)
    comparison = _grid.comparison(overrides)
    parallel.meet(device.chosen(comparison.runtime["device"]))
    if not parallel.in_charge():
        store = Store(Path(comparison.runtime["store"]))
        execute.train_along(comparison.tasks, store, comparison.runtime)
        return []
    try:
        failures = _launch(overrides, comparison)
    except UserError:  # a sweep goes on, and the others with it
        parallel.call(None)
        raise
    parallel.call(None)  # another error ends this process, and the launcher then the others
    return failures


def _launch(
    overrides: Sequence[str], composed: Comparison | None = None, *, ask: bool = False
) -> list[cells.Failure]:
    if entry := index.find(overrides):
        _show(entry)
        return []
    comparison = composed or _grid.comparison(overrides)
    command.require_weights(comparison)
    folder, runtime = comparison.folder(overrides), comparison.runtime
    failures: list[cells.Failure] = []
    store = Store(Path(runtime["store"]))
    if is_to_do(comparison, folder):
        for place in (folder.parent, store.root):
            check_writable(place)
        if missing := command.lacking(comparison.tasks):
            raise UserError(missing)
        _tell(comparison)
        failures = _grid.run(overrides, comparison, ask=ask)
        for failure in failures:
            log.error("%s", failure_line(failure.task.title, failure.reason, failure.log))
        written_by_one = guard(store.root / "leases" / "results" / folder.name)
        with user_errors(folder), written_by_one:  # others may write the same results
            if results.is_complete(folder):
                logged = comparison.track(store, folder)
            else:
                logged = comparison.write(failures, store, folder, overrides)
    else:
        logged = comparison.track(store, folder)
    if logged and not failures:
        _note(comparison, store, folder, overrides)
    comparison.show(folder, complete=results.is_complete(folder))
    return failures


def _note(comparison: Comparison, store: Store, folder: Path, overrides: Sequence[str]) -> None:
    roots = {str(root) for arm in comparison.arms if (root := arm.config["data"].get("root"))}

    def changed() -> bool:
        own = comparison.own.name
        return bool(roots) and command.people_of(comparison.arms)[own] != comparison.people

    with suppress(OSError, UserError):  # an index is only faster
        kind, claims = type(comparison).__name__, comparison.config["compare"]["claims"]
        jobs = sweep.jobs() if claims else None
        index.note(overrides, folder, kind, comparison.tasks, store, sorted(roots), changed, jobs)


def _tell(comparison: Comparison) -> None:
    names = ", ".join(arm.name for arm in comparison.arms)
    counts = f"people: {len(comparison.people)} | stages: {len(comparison.tasks)}"
    log.info("arms: %s | %s", names, counts)


_grid = Grid(_show)
_app.__wrapped__.grid = _grid  # of the function that Hydra hands to its launchers


if __name__ == "__main__":
    main()
