"""What was last seen in the database, shared by all who show it: one look at a time, however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, TypeVar

import sqlalchemy as sa

from b3lb_operator.database import Database, DatabaseUnavailableError

T = TypeVar("T")


class Sight(Generic[T]):
    """The last look; all methods belong to the event loop's thread, and all times are the loop's."""

    def __init__(self, database: Database, read: Callable[[sa.Connection], T]) -> None:
        """Take the database and what reads it; nothing is read before somebody asks."""
        self._database = database
        self._read = read
        self._tried_at: float | None = None
        self._looking: asyncio.Task[None] | None = None
        self._up = False
        self.last: T | None = None
        """What was last seen, None before the first time."""
        self.seen_at = 0.0
        """When the last look that succeeded began."""
        self.as_of: datetime | None = None
        """The same by the clock on the wall, None before the first time."""
        self.error = ""
        """Why the last look failed, empty when it did not."""

    @property
    def up(self) -> bool:
        """Whether the last look succeeded and none is under way: one that hangs counts as failed."""
        return self._up and self._looking is None

    async def refresh(self, *, older_than: float, wait: float | None = None) -> None:
        """Look if the last attempt is older than so many seconds; a look that is under way is waited for.

        Args:
            older_than: Greatest age, in seconds, of what is good enough.
            wait: How many seconds the caller waits at most, None for ever; the look itself goes on.
        """
        now = asyncio.get_running_loop().time()
        if self._looking is None and (self._tried_at is None or now - self._tried_at >= older_than):
            self._looking = asyncio.create_task(self._look(now), name="look at the database")
        looking = self._looking
        if looking is not None:
            await asyncio.wait({looking}, timeout=wait)
            if looking.done() and not looking.cancelled():
                # Only a bug raises here.
                looking.result()

    async def close(self) -> None:
        """End what is under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self, began: float) -> None:
        self._tried_at, self._up = began, False
        as_of = datetime.now(UTC)
        try:
            self.last = await self._database.call(self._read)
            self._up, self.seen_at, self.error = True, began, ""
            self.as_of = as_of
        except DatabaseUnavailableError as error:
            self.error = str(error)
        finally:
            self._looking = None
