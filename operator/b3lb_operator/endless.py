"""The operator's tasks, each made to run for ever: when one ends by itself, the process is to end with a code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from b3lb.db.schema import SchemaMismatchError

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_TRANSIENT = 75

_log = structlog.stdlib.get_logger(__name__)


class EndlessTasks:
    """Tasks that end together.

    Attributes:
        stop_flag: Set when the process is to end.
        exit_code: That of the process.
    """

    def __init__(self) -> None:
        self.stop_flag = asyncio.Event()
        self.exit_code = EXIT_OK
        self._tasks: list[asyncio.Task[None]] = []

    def are_running(self) -> bool:
        """Whether they were started and not stopped."""
        return bool(self._tasks)

    def start(self, name: str, run: Callable[[], Coroutine[Any, Any, None]], *, may_end: bool = False) -> None:
        """Start one.

        Args:
            name: For people.
            run: What is done.
            may_end: Whether it is no fault of the program when it ends: then this process has to begin anew.
        """
        task = asyncio.create_task(run(), name=name)
        task.add_done_callback(self._lost if may_end else self._ended)
        self._tasks.append(task)

    async def stop(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _lost(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._ended(task)
            return
        self.exit_code = EXIT_TRANSIENT
        self.stop_flag.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, SchemaMismatchError):
            _log.error("the database does not fit", reason=str(error))
            self.exit_code = EXIT_TRANSIENT
        else:
            _log.critical("a task ended", task=task.get_name(), exc_info=error)
            self.exit_code = EXIT_FAILURE
        self.stop_flag.set()
