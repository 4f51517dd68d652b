"""A queue of keys to reconcile: each key once in it, one reconciliation per key at a time, retries with back-off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

from b3lb_operator.kube import KubeError

K = TypeVar("K", bound=Hashable)

_log = structlog.stdlib.get_logger(__name__)

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


class WorkQueue(Generic[K]):
    """Calls ``handler`` for every key that was added, as a level-triggered controller does.

    A key that is added while it is being worked on is worked on once more afterwards. A handler that raises is called
    again after a jittered back-off; one that returns a number of seconds is called again after them.
    """

    def __init__(self, name: str, handler: Callable[[K], Awaitable[float | None]], *, workers: int = 4) -> None:
        self._name = name
        self._handler = handler
        self._workers = workers
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._queued: set[K] = set()
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}

    def add(self, key: K) -> None:
        """Ask for a reconciliation now."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for a reconciliation in ``seconds``, or earlier if somebody wants it earlier."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= due:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_at(due, self.add, key)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(), name=f"{self._name} {number}")
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            self._queued.discard(key)
            self._active.add(key)
            try:
                await self._handle(key)
            finally:
                self._active.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    async def _handle(self, key: K) -> None:
        try:
            later = await self._handler(key)
        except Exception as error:  # noqa: BLE001 - one object's trouble, a bug included, must not stop the others
            self._retry(key, error)
            return
        self._failures.pop(key, None)
        if later is not None:
            self.add_after(key, later)

    def _retry(self, key: K, error: Exception) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        longest = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
        delay = random.uniform(longest / 2, longest)  # noqa: S311 - spreads retries, no cryptography
        expected = isinstance(error, KubeError)
        log = _log.warning if expected else _log.error
        log(
            "reconciliation failed",
            queue=self._name,
            key=str(key),
            error=str(error),
            retry_seconds=round(delay, 1),
            exc_info=None if expected else error,
        )
        self.add_after(key, delay)
