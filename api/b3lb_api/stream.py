"""Sending a file that is read in threads: no faster than it is taken, and not a byte more once nobody listens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from starlette.types import Receive, Send

from b3lb.storage.interface import StorageError

PIECE_BYTES = 64 << 10
"""What is handed on at a time, and has to be taken within the time for a pause."""


class BreakOff(StrEnum):
    """Why something was not sent whole."""

    HUNG_UP = "HungUp"
    IDLE = "Idle"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    STOPPING = "Stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAnswer:
    """An answer with ``length`` bytes of a file as its body.

    ``read`` returns the next chunk of the file, ``sent`` is told of so many bytes more that are on their way. A client
    may take ``idle_seconds`` for `PIECE_BYTES`. One chunk is in memory at most.
    """

    status: int
    headers: Mapping[str, str]
    length: int
    idle_seconds: float
    read: Callable[[], Awaitable[bytes]]
    sent: Callable[[int], object] = field(default=lambda _count: None)

    async def send(self, receive: Receive, send: Send) -> BreakOff | None:
        """Send it, by ASGI; return what it broke off by, None if it was sent whole."""
        sending = asyncio.create_task(self._send(send))
        hanging_up = asyncio.create_task(_hang_up(receive))
        try:
            await asyncio.wait({sending, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
            return sending.result() if sending.done() else BreakOff.HUNG_UP
        finally:
            sending.cancel()
            hanging_up.cancel()
            await asyncio.gather(sending, hanging_up, return_exceptions=True)

    async def _send(self, send: Send) -> BreakOff | None:
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        left = self.length
        while left:
            try:
                chunk = (await self.read())[:left]
            except StorageError:
                return BreakOff.STORAGE_UNAVAILABLE
            # The object has become shorter than what was published.
            if not chunk:
                return BreakOff.STORAGE_UNAVAILABLE
            for start in range(0, len(chunk), PIECE_BYTES):
                piece = chunk[start : start + PIECE_BYTES]
                left -= len(piece)
                try:
                    async with asyncio.timeout(self.idle_seconds):
                        await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
                except TimeoutError:
                    return BreakOff.IDLE
                self.sent(len(piece))
        return None


async def _hang_up(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
