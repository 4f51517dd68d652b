"""A request's body as it comes, with a limit on how long it may take for how much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

LEAST_BYTES = 64 << 10
"""What has to come within the time for a pause; whoever sends single bytes would hold a place for ever."""


class BrokenBodyError(Exception):
    """The body broke off, or too little came for too long (``idle``)."""

    def __init__(self, message: str, *, idle: bool = False) -> None:
        super().__init__(message)
        self.idle = idle


class Body:
    """The body of one request."""

    def __init__(self, request: Request, *, idle_seconds: float) -> None:
        self._request = request
        self._idle_seconds = idle_seconds
        # Whoever asked before sending has not sent anything until it is read.
        self._sent = "expect" not in request.headers

    async def pieces(self) -> AsyncIterator[bytes]:
        """Go through what comes; may be called again to go on.

        Raises:
            BrokenBodyError: It broke off, or was waited for too long; the time that its reader takes does not count.
        """
        self._sent = True
        stream = self._request.stream()
        loop = asyncio.get_running_loop()
        waited, come = 0.0, 0
        while True:
            began = loop.time()
            try:
                async with asyncio.timeout(self._idle_seconds - waited):
                    piece = await anext(stream, None)
            except TimeoutError:
                told = f"less than {LEAST_BYTES >> 10} KiB came in {self._idle_seconds:g} s"
                raise BrokenBodyError(told, idle=True) from None
            except ClientDisconnect:
                raise BrokenBodyError("the connection broke off") from None
            if piece is None:
                return
            waited += loop.time() - began
            come += len(piece)
            if come >= LEAST_BYTES:
                waited, come = 0.0, 0
            yield piece

    async def drain(self, *, most: int, seconds: float) -> None:
        """Pass over what is still coming, so that the sender gets to read the answer; within limits.

        A socket that is closed with bytes unread resets the connection (RFC 9112, 9.6), and the answer may be lost.
        """
        if not self._sent:
            return
        try:
            async with asyncio.timeout(seconds):
                async for piece in self.pieces():
                    most -= len(piece)
                    if most < 0:
                        return
        except (TimeoutError, BrokenBodyError, RuntimeError):
            # RuntimeError is Starlette's for a body that was read to its end.
            return
