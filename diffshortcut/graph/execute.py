"""Stages made, each with its code, device and record; what is tried when memory runs out."""

import importlib
import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diffshortcut import parallel, weights
from diffshortcut.artifacts import provenance
from diffshortcut.artifacts.store import Store
from diffshortcut.config import config
from diffshortcut.disk import StoreError, bytes_in
from diffshortcut.errors import UserError
from diffshortcut.graph import device, evict
from diffshortcut.graph.cells import Failure, Task
from diffshortcut.progress import track

log = logging.getLogger(__name__)


def run(
    tasks: Sequence[Task],
    *,
    store: Store,
    runtime: Mapping[str, Any],
    known: Mapping[str, Failure] | None = None,
    observe: Callable[[Task, str], None] = lambda task, state: None,
    note: Callable[[Failure], None] = lambda failure: None,
) -> list[Failure]:
    """Do what the store lacks, in order; a failed task stops only those that need it.

    What has failed already is `known` by its key and not tried again. `observe` is told when a task
    is running, done or failed, and before that it has failed `note` why.
    """
    todo = evict.to_do(tasks, store, runtime)
    failures = {task.key: known[task.key] for task in todo if known and task.key in known}
    readers = evict.Readers(todo, store, runtime)  # those that have failed too
    todo = [task for task in todo if task.key not in failures]
    for task in todo:
        load(task)
    for task in track(todo, "stages") if todo else ():
        observe(task, "running")
        done = readers.are_done(task)
        if not done and (failure := _attempt(task, failures, store, runtime)):
            failures[task.key] = failure
            note(failure)
        else:
            readers.done(task)
        observe(task, "failed" if task.key in failures else "done")
    return list(failures.values())


def runtime(config: Mapping[str, Any]) -> dict[str, Any]:
    """What stages are told that cannot change their results beyond rounding; of a whole config."""
    return {**config["runtime"], "checkpoint_minutes": config["checkpoint"]["minutes"]}


def blocked(task: Task, failures: Container[str]) -> Failure | None:
    """The failure of a task that reads one that has failed."""
    needed = any(parent.key in failures for parent in task.inputs.values())
    return Failure(task, "it needs a stage that failed") if needed else None


def _attempt(
    task: Task, failures: Mapping[str, Failure], store: Store, runtime: Mapping[str, Any]
) -> Failure | None:
    if failure := blocked(task, failures):
        return failure
    try:
        do(task, store, runtime)
    except StoreError:
        raise
    except Exception as error:
        begun = (task, _evicted(task, store))  # the model too, if it was to be made again
        if runtime["fail_fast"] or any(parallel.together(each.stage) for each in begun if each):
            raise
        log.error("%s failed: %s", task.title, error, exc_info=not isinstance(error, UserError))
        return Failure(task, str(error) or type(error).__name__)
    return None


def load(task: Task) -> None:
    """Import the task's code, so that what runs is what its key was made of; judge its values."""
    for part, node in task.config.items():
        config.check_values(node, "purifier" if part == "link" else part)
    importlib.import_module(f"diffshortcut.stages.{task.stage}")


def do(
    task: Task, store: Store, runtime: Mapping[str, Any], too_large: tuple[int, ...] = ()
) -> None:
    """Make the task's artifact unless it is there.

    When memory runs out the micro-batch is halved, as often as it can be. `too_large` are those
    for which memory ran out before, in another process; all of them are recorded. A stage that
    other processes run as well is not tried again: they wait for its first try.
    """
    while True:
        if model := _evicted(task, store):
            do(model, store, runtime)
        attempt = with_micro_batch(task, too_large[-1] // 2) if too_large else task
        try:
            _make(attempt, store, runtime, too_large)
            return
        except Exception as error:
            if _evicted(task, store):  # while it was read
                log.warning("%s: another command has evicted its model: again", task.title)
                continue
            retried = device.is_out_of_memory(error) and micro_batch(attempt) > 1
            if not retried or parallel.together(task.stage):
                raise
        too_large = (*too_large, micro_batch(attempt))
        log.warning("%s: out of memory with micro-batches of %d", task.title, too_large[-1])
        device.free()


def _evicted(task: Task, store: Store) -> Task | None:
    """The model that is to be read, if another command has evicted it since this was planned."""
    model = task.model
    if model is None or not store.is_evicted(model.stage, model.key):
        return None
    return None if store.find(task.stage, task.key) else model


def train_along(tasks: Iterable[Task], store: Store, runtime: Mapping[str, Any]) -> None:
    """Run, and write nowhere, what the process in charge tells its helpers to run as well."""
    by_key = {task.key: task for task in tasks}
    for key in parallel.orders():
        # an error is met by the process in charge as well, which says it
        with TemporaryDirectory() as out, suppress(UserError):
            _run(by_key[key], store, runtime, Path(out))


def micro_batch(task: Task) -> int:
    """How many images the task holds in memory at once; 0 if that cannot be set."""
    found = [
        value or _images(task)
        for name, value in config.leaves(task.config)
        if name.rpartition(".")[2] == "micro_batch"
    ]
    return max(found, default=0)


def with_micro_batch(task: Task, size: int) -> Task:
    """The same task, so of the same key, that holds at most `size` images in memory at once."""
    return replace(task, config=_limited(task.config, size))


def _make(task: Task, store: Store, runtime: Mapping[str, Any], too_large: tuple[int, ...]) -> None:
    def make(out: Path) -> dict[str, Any]:
        check_unchanged(task)  # it was planned maybe hours ago
        if task.stage in parallel.TOGETHER:
            parallel.call(task.key)
        with provenance.cost() as spent:
            facts = _run(task, store, runtime, out)
        check_unchanged(task)
        return {
            **_identity(task),
            "facts": facts,
            "bytes": bytes_in(out),
            "device": device.chosen(runtime["device"]),
            "threads": runtime["threads"],
            "processes": parallel.team().size if task.stage in parallel.TOGETHER else 1,
            "out_of_memory": list(too_large),  # micro-batches
            **spent,
            **provenance.environment(),
        }

    store.write(task.stage, task.key, make)


def _run(task: Task, store: Store, runtime: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Let the stage fill the folder `out`; its facts."""
    import torch

    from diffshortcut.artifacts.checkpoint import Checkpoint
    from diffshortcut.seeding import Draws
    from diffshortcut.stages.inputs import Inputs

    found = device.chosen(runtime["device"])
    if found != "cpu":
        device.make_room(task.stage, config.references(task.config))
    torch.set_default_device(found)
    torch.backends.cudnn.allow_tf32 = False  # float32 is that, in convolutions too
    torch.set_num_threads(runtime["threads"])
    stage = importlib.import_module(f"diffshortcut.stages.{task.stage}")
    artifacts = {role: store.path(t.stage, t.key) for role, t in task.inputs.items()}
    partial = store.partial(task.stage, task.key)
    checkpoint = Checkpoint(partial, runtime["checkpoint_minutes"])
    inputs = Inputs(person=task.person, artifacts=artifacts, checkpoint=checkpoint)
    draws = Draws(task.seed, task.stage, task.person.name if task.person else "")
    return stage.run(config=task.config, inputs=inputs, out=out, draws=draws)


def _identity(task: Task) -> dict[str, Any]:
    """What the artifact is made of."""
    person, sets = task.person, task.sets
    return {
        "stage": task.stage,
        "key": task.key,
        "parents": {role: parent.key for role, parent in task.inputs.items()},
        "person": person.name if person else None,
        "seed": task.seed,
        "config": task.config,
        "pictures": {name: person.digest([name]) for name in sets} if person else {},
        "weights": {name: weights.digest(name) for name in sorted(config.references(task.config))},
    }


def check_unchanged(task: Task) -> None:
    """UserError if the key is no longer that of the pictures, weights and source on the disk."""
    reason = "its inputs have changed while this ran, or are others on this machine:"
    reason += " call the same command again"
    try:
        if task.is_unchanged():
            return
    except (UserError, OSError) as error:
        reason = str(error)
    raise UserError(f"{task.title}: {reason}")


def _images(task: Task) -> int:
    """How many images a stage works on when it is not told otherwise."""
    if trainer := task.config.get("trainer"):
        return sum(trainer.get(name) or 0 for name in ("instance_batch", "prior_batch"))
    asked = {**task.config, **(task.config.get("sampler") or {})}.get("images")  # prior, sampler
    return asked or len(task.person.set_B if task.person else ())


def _limited(node: Any, size: int) -> Any:
    if isinstance(node, list):
        return [_limited(child, size) for child in node]
    if not isinstance(node, Mapping):
        return node
    return {
        key: min(child or size, size) if key == "micro_batch" else _limited(child, size)
        for key, child in node.items()
    }
