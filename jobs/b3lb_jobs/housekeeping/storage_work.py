"""The storage for tasks: opened from the environment, and used in a thread that stops when its task is stopped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from b3lb.settings import SettingsError, load_settings
from b3lb.storage.interface import Storage
from b3lb.storage.settings import StorageSettings, open_storage
from b3lb_jobs.errors import PermanentError
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.interface import TaskContext

Result = TypeVar("Result")


class Budget:
    """How long work in a thread may begin something new; stopped by its task, too."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let nothing begin any more."""
        self._stopped.set()

    def is_over(self) -> bool:
        """Whether nothing new is to begin."""
        return self._stopped.is_set() or time.monotonic() >= self._ends_at


def configured_storage() -> Storage | None:
    """Return the storage that the environment names, None if it names none.

    Raises:
        PermanentError: What it names cannot be used.
    """
    try:
        settings = load_settings(StorageSettings)
        if settings.storage_directory is None and settings.s3_bucket is None:
            return None
        return open_storage(settings)
    except SettingsError as error:
        raise PermanentError(str(error), exit_code=ExitCode.CONFIGURATION) from error


class StorageTask:
    """What tasks that work on the storage have in common: it is opened once, from the environment.

    Args:
        context: Of the run.
        storage: Where the objects are; None: as the environment says.
    """

    def __init__(self, context: TaskContext, *, storage: Storage | None = None) -> None:
        self._context = context
        self._storage = storage

    async def __aenter__(self) -> Self:
        self._storage = self._storage or configured_storage()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to close."""


async def in_thread(work: Callable[[Budget], Result], seconds: float) -> Result:
    """Do ``work`` in a thread; when the task is cancelled, the thread ends after what it is just deleting."""
    budget = Budget(seconds)
    try:
        return await asyncio.to_thread(work, budget)
    finally:
        budget.stop()
