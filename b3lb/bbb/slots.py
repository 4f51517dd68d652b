"""How many polls may be active at once, without letting those that hang keep the others waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """A number of slots; one that is held for longer than ``give_back_seconds`` is given back while its holder waits.

    A healthy node answers within a few tens of milliseconds, so the number bounds the work that is done at the same
    time; a hanging node only waits, and that costs a connection and nothing else. In flight are therefore as many as
    there are slots plus as many as hang.
    """

    def __init__(self, number: int, give_back_seconds: float) -> None:
        self._semaphore = asyncio.Semaphore(number)
        self._give_back_seconds = give_back_seconds

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it for the time of the block, at most for ``give_back_seconds``."""
        await self._semaphore.acquire()
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._semaphore.release()

        timer = asyncio.get_running_loop().call_later(self._give_back_seconds, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
