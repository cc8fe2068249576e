"""What a worker process does with one task after the other. Imports nothing of Ray."""

import logging
import os
import platform
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffshortcut.artifacts import sources
from diffshortcut.artifacts.store import Store
from diffshortcut.disk import StoreError
from diffshortcut.errors import UserError
from diffshortcut.graph import device, execute
from diffshortcut.graph.cells import Task

FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(message)s")


@dataclass(frozen=True)
class Outcome:
    """How a task ended: no reason means that it is done; `stop` that nothing can go on."""

    reason: str = ""
    log: Path | None = None
    stop: bool = False


class Worker:
    """A process that keeps its models between tasks: the loaders cache them.

    Ray makes an actor of it, which starts in the folder and with the variables of the driver,
    whatever machine it is on.
    """

    def __init__(
        self, folder: str, environment: Mapping[str, str], store: str, runtime: Mapping[str, Any]
    ) -> None:
        os.chdir(folder)
        os.environ.update(environment)
        sys.path[:0] = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
        logging.getLogger().setLevel(logging.INFO)
        self.store, self.runtime = Path(store), runtime

    def ready(self, modules: Sequence[str]) -> tuple[str, str]:
        """The node's name and a digest of the source of these modules on it. Imports none."""
        return platform.node(), sources.digest(modules)

    def do(self, task: Task, too_large: tuple[int, ...], log: Path) -> Outcome:
        """Make one artifact; everything that is said on the way, and a traceback, go to `log`."""
        with logging_to(log):
            logging.info("%s in process %d", task.title, os.getpid())
            try:
                execute.load(task)
                execute.do(task, Store(self.store), self.runtime, too_large)
            except StoreError as error:
                return Outcome(str(error), log, stop=True)
            except UserError as error:
                logging.error("%s", error)
                return Outcome(str(error), log)
            except Exception as error:
                logging.error("%s", traceback.format_exc())
                if device.is_lost(error):
                    logging.error("this worker has lost its GPU and ends: another one takes over")
                    os._exit(1)
                return Outcome(str(error) or type(error).__name__, log)
        return Outcome()


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """What is logged within goes to `file` too, and the traceback of an error that ends it.

    There is no file unless there is something to say.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, delay=True)
    handler.setFormatter(FORMAT)
    logging.getLogger().addHandler(handler)
    try:
        yield
    except Exception:
        told = {"levelname": "ERROR", "msg": "it stops here", "exc_info": sys.exc_info()}
        handler.handle(logging.makeLogRecord(told))  # here only: who stops says it elsewhere
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
