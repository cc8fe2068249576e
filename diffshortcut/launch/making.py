"""The stages of a grid made: on Ray's workers, or in this process, each with its log."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from diffshortcut.artifacts.store import Store
from diffshortcut.graph import execute
from diffshortcut.graph.cells import Failure, Task
from diffshortcut.launch import workers
from diffshortcut.launch.board import Board
from diffshortcut.launch.options import Options
from diffshortcut.launch.record import Failures, Record
from diffshortcut.launch.worker import logging_to


def run(
    todo: list[Task],
    store: Store,
    runtime: Mapping[str, Any],
    options: Options,
    record: Record,
) -> list[Failure]:
    """All tasks, on Ray's workers unless there are to be none."""
    if options["workers"] == 0:
        return on_board(todo, store, runtime, record)
    with Board(todo, store) as board:
        return workers.run(
            todo, store=store, runtime=runtime, options=options, board=board, record=record
        )


def on_board(
    todo: list[Task],
    store: Store,
    runtime: Mapping[str, Any],
    record: Record,
    known: Mapping[str, Failure] | None = None,
) -> list[Failure]:
    """All tasks in this process, shown as they go."""
    with Board(todo, store) as board:
        return here(todo, store, runtime, record, board.tell, known)


def here(
    todo: list[Task],
    store: Store,
    runtime: Mapping[str, Any],
    record: Record,
    tell: Callable[[Task, str], None] = lambda task, state: None,
    known: Mapping[str, Failure] | None = None,
) -> list[Failure]:
    """All tasks in this process, each with its log; what fails is noted before the next begins.

    So is the one that fail_fast stops at. What has failed already is `known` and not tried again.
    """
    running: list[Task] = []
    failures = Failures(record)
    logs = ExitStack()
    for task in todo:
        if failure := (known or {}).get(task.key):
            failures.add(failure)
            tell(task, "failed")

    def observe(task: Task, state: str) -> None:
        logs.close()
        running[:] = [task] if state == "running" else []
        if running:
            if not execute.blocked(task, failures.by_key):
                failures.write()
            logs.enter_context(logging_to(record.log(task)))
        tell(task, state)

    def note(failure: Failure) -> None:
        needs = execute.blocked(failure.task, failures.by_key)
        failures.add(failure if needs else replace(failure, log=record.log(failure.task)))

    try:
        with logs:
            execute.run(todo, store=store, runtime=runtime, known=known, observe=observe, note=note)
    except Exception as error:  # fail_fast, or nothing can go on: a full disk
        reason = str(error) or type(error).__name__
        for task in running:
            failures.add(Failure(task, reason, record.log(task)))
        raise
    finally:
        failures.write()
    return list(failures.by_key.values())
