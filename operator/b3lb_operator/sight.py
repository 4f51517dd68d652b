"""What was last seen in the database, shared by all who show it: one look at a time, however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, TypeVar

import sqlalchemy as sa

from b3lb_operator.database import Database, DatabaseUnavailableError

T = TypeVar("T")

HANGS_SECONDS = 3.0
"""A look that takes longer counts as failed while it is under way."""


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
        self.took = 0.0
        """How many seconds the last look took."""
        self.error = ""
        """Why the last look failed, empty when it did not."""

    @property
    def up(self) -> bool:
        """Whether the last look succeeded and none hangs; one that somebody else has just begun says nothing yet."""
        return self._up and (self._looking is None or self._age() < HANGS_SECONDS)

    async def refresh(self, *, older_than: float, wait: float | None = None) -> None:
        """Look if the last attempt is older than so many seconds; a look that is under way is waited for.

        Args:
            older_than: Greatest age, in seconds, of what is good enough.
            wait: For how many seconds from its beginning a look is waited for, None for ever; the look itself goes on.
                Whoever needs several looks at a database that hangs waits for it once.
        """
        if self._looking is None and (self._tried_at is None or self._age() >= older_than):
            self._tried_at = now = asyncio.get_running_loop().time()
            self._looking = asyncio.create_task(self._look(now), name="look at the database")
        looking = self._looking
        if looking is not None:
            await asyncio.wait({looking}, timeout=None if wait is None else max(0.0, wait - self._age()))
            if looking.done() and not looking.cancelled():
                # Only a bug raises here.
                looking.result()

    async def close(self) -> None:
        """End what is under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def _age(self) -> float:
        """Return how many seconds ago the last attempt began."""
        return 0.0 if self._tried_at is None else asyncio.get_running_loop().time() - self._tried_at

    async def _look(self, began: float) -> None:
        as_of, up = datetime.now(UTC), False
        try:
            self.last = await self._database.call(self._read)
            up, self.seen_at, self.error = True, began, ""
            self.as_of = as_of
        except DatabaseUnavailableError as error:
            self.error = str(error)
        finally:
            self.took = self._age()
            self._up, self._looking = up, None
