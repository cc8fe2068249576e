"""Ray's side of a grid: a cluster, its workers and what becomes of their calls."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from diffshortcut.artifacts import sources
from diffshortcut.artifacts.store import Store
from diffshortcut.errors import UserError
from diffshortcut.graph.cells import Task
from diffshortcut.job import index
from diffshortcut.launch.options import Options
from diffshortcut.launch.record import Record
from diffshortcut.launch.worker import Outcome, Worker

log = logging.getLogger(__name__)
STARTS = 3  # failed starts, one after the other, after which a worker is given up
PAUSE = 5.0  # seconds before it is started again
LOCAL = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray then binds 127.0.0.1, on Linux too
    "RAY_worker_niceness": "0",  # else whatever else the machine does comes before our work
}
QUIET = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # what Ray would warn of at every start
PASSED_ON = (*index.ENVIRONMENT, "HF_HUB_OFFLINE", "PYTHONPATH")  # variables, to the workers

Shape = Mapping[str, float]  # of a worker: what it asks of the cluster


@dataclass(eq=False)
class Resident:
    """A worker that answers: its actor, its shape, what it has just done."""

    actor: Any
    shape: Shape
    light: bool
    kind: tuple[str, ...] = ()
    failed: int = 0  # starts in its place, one after the other


@dataclass(frozen=True)
class Event:
    """A call that has ended. Without task it was the start of a worker, however it went."""

    task: str | None = None
    outcome: Outcome | None = None  # None: the worker is lost
    error: Exception | None = None
    out_of_memory: bool = False


@dataclass
class _Call:
    worker: Resident
    task: Task | None = None  # None: its start


@dataclass
class Cluster:
    """A context with workers on a local Ray, or on the cluster at `options["address"]`.

    All have the source of `modules`, by dotted name, that this process has: stages' keys are made
    of it.
    """

    store: Store
    runtime: Mapping[str, Any]
    options: Options
    record: Record
    modules: Sequence[str] = ()
    workers: list[Resident] = field(default_factory=list)  # those that have answered
    shapes: list[tuple[Shape, bool]] = field(default_factory=list)  # of all that are not given up
    later: list[tuple[float, Resident]] = field(default_factory=list)  # when to start them again

    def __enter__(self) -> "Cluster":
        self._source = sources.digest(self.modules)
        self._ray = _begin(self.options, self.runtime["threads"])
        self._calls: dict[Any, _Call] = {}
        self.shapes = shapes(self._ray.nodes(), self.options, self.runtime["threads"])
        if not self.shapes:
            self._end()
            raise UserError(
                f"hydra/launcher=graph: no machine has the {self.runtime['threads']} cores of a"
                " worker: lower runtime.threads, or say hydra.launcher.workers=1"
            )
        for shape, light in self.shapes:
            self._start(shape, light)
        return self

    def __exit__(self, *raised: object) -> None:
        self._end()

    def _end(self) -> None:
        with _sigterm_kept():
            self._ray.shutdown()  # of a cluster only our workers end

    @property
    def has_light(self) -> bool:
        """Whether some workers are for light stages."""
        return any(light for _, light in self.shapes)

    def idle(self) -> list[Resident]:
        """Workers without a call, those for light stages first."""
        busy = {id(call.worker) for call in self._calls.values()}
        free = [worker for worker in self.workers if id(worker) not in busy]
        return sorted(free, key=lambda worker: not worker.light)

    def give(self, worker: Resident, task: Task, too_large: tuple[int, ...]) -> None:
        """Have a worker do a task."""
        call = worker.actor.do.remote(task, too_large, self.record.log(task))
        self._calls[call] = _Call(worker, task)

    def wait(self, seconds: float) -> Iterator[Event]:
        """The calls that end within some seconds; a worker that is lost is replaced.

        UserError once no worker is left that could do every stage.
        """
        self._start_again()
        if not self._calls:
            time.sleep(seconds)  # Ray would not wait for nothing
        done, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=seconds)
        for reference in done:
            call = self._calls.pop(reference)
            ended = self._started if call.task is None else self._did
            yield ended(call, reference)

    def _started(self, call: _Call, reference: Any) -> Event:
        try:
            node, source = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._did_not_start(call.worker, last_line(error))
            return Event()
        if source == self._source:
            self.workers.append(call.worker)
        else:
            self._ray.kill(call.worker.actor)
            why = f"node {node} has another version of diffshortcut or of a plug-in"
            self._did_not_start(call.worker, why)
        return Event()

    def _did_not_start(self, worker: Resident, why: str) -> None:
        """Again after a pause; what never starts is given up, and the other workers go on."""
        worker.failed += 1
        if worker.failed < STARTS:
            self.later.append((time.monotonic() + PAUSE, worker))
            return
        self.shapes.remove((worker.shape, worker.light))
        if all(light for _, light in self.shapes):
            which = " that could load a model" if self.shapes else ""
            raise UserError(f"hydra/launcher=graph: no worker{which} starts: {why}")
        left = len(self.shapes)
        log.warning("a worker does not start and is given up, %d are left: %s", left, why)

    def _start_again(self) -> None:
        now = time.monotonic()
        due = [worker for when, worker in self.later if when <= now]
        self.later = [(when, worker) for when, worker in self.later if when > now]
        for worker in due:
            self._start(worker.shape, worker.light, worker.failed)

    def _did(self, call: _Call, reference: Any) -> Event:
        assert call.task is not None
        try:
            return Event(call.task.key, self._ray.get(reference))
        except self._ray.exceptions.RayTaskError as error:  # around the stage: the worker lives
            return Event(call.task.key, Outcome(last_line(error), self.record.log(call.task)))
        except self._ray.exceptions.RayError as error:
            if call.worker in self.workers:
                self.workers.remove(call.worker)
            self._start(call.worker.shape, call.worker.light)
            starved = isinstance(error, self._ray.exceptions.OutOfMemoryError)
            return Event(call.task.key, None, error, starved)

    def _start(self, shape: Shape, light: bool, failed: int = 0) -> None:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        maker = self._ray.remote(Worker).options(**shape, max_restarts=0)
        store = str(self.store.root.absolute())
        actor = maker.remote(os.getcwd(), environment, store, dict(self.runtime))
        self._calls[actor.ready.remote(list(self.modules))] = _Call(
            Resident(actor, shape, light, failed=failed)
        )


def last_line(error: BaseException | None) -> str:
    """The end of what Ray says of an error, after the traceback that it holds."""
    lines = str(error or "").strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def shapes(
    nodes: Sequence[Mapping[str, Any]], options: Options, threads: int
) -> list[tuple[Shape, bool]]:
    """The workers that a cluster has room for, and whether each is for light stages only.

    One per GPU, and one that shares it; without GPUs one per `threads` cores.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    cards = sum(int(node.get("GPU", 0)) for node in alive)
    wanted = options["workers"]
    if not cards:
        room = sum(int(node.get("CPU", 0) // threads) for node in alive)
        return [({"num_cpus": threads}, False)] * (room if wanted is None else wanted)
    cards, part = (cards if wanted is None else wanted), options["light_gpu"]
    heavy: Shape = {"num_gpus": 1 - part, "num_cpus": 1}
    light: Shape = {"num_gpus": part, "num_cpus": 1}
    return [(heavy, False)] * cards + ([(light, True)] * cards if part else [])


def _begin(options: Options, threads: int) -> ModuleType:
    if (wanted := options["workers"]) is not None and wanted < 0:
        raise UserError(f"hydra.launcher.workers={wanted}: 0 (no Ray), a number of workers or null")
    os.environ.update(QUIET)
    if options["address"] is None:
        os.environ.update(LOCAL)  # read when Ray is imported
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "hydra/launcher=graph needs Ray: pip install 'diffshortcut[grid]', or do without it"
            " in this process: hydra.launcher.workers=0"
        ) from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if options["address"] is not None:
        with _sigterm_kept():
            ray.init(address=options["address"], **quiet)
        return ray
    workers = options["workers"]
    cores = None if workers is None else max(workers * threads, os.cpu_count() or 1)
    with _sigterm_kept():  # "local": else Ray would join whatever cluster this machine has
        ray.init("local", num_cpus=cores, include_dashboard=False, **quiet)
    return ray


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it begins, and nobody has it once it ends: as before then.

    A grid, and the jobs after it, end by it as by ^C.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
