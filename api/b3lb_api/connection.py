"""A connection that waits for nobody without end: for no head that does not come, for no answer that is not read."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

LOOK_SECONDS = 20.0
"""After one to two of these a connection without progress is cut, unless a request is being worked on."""


class Connection(H11Protocol):
    """uvicorn bounds the pause between two requests only.

    Whoever sends a request's head byte by byte, or never reads the last of an answer, would hold a connection for ever.
    What happens while a request is worked on is bounded by whoever works on it.
    """

    _timer: asyncio.TimerHandle | None = None
    _answered = 0
    _seen: tuple[int, int] | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to look."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Count the answer: a head that comes now is another one."""
        self._answered += 1
        super().on_response_complete()

    def _look(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        works = cycle is not None and not cycle.response_complete and not self.transport.is_closing()
        seen = None if works else (self._answered, self.transport.get_write_buffer_size())
        if seen is not None and seen == self._seen:
            self.transport.abort()
            return
        self._seen = seen
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)
