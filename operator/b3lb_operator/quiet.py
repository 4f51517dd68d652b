"""Keeps the log readable: kopf tells of every event, and of every attempt of every watch while the API is away."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

REPEAT_SECONDS = 30.0

_WATCH = re.compile(r"^Watcher for (\S+) has failed: ")
_ATTEMPT = re.compile(r"^Request attempt #\S+ (failed; .*?): (\w+ \S+?)(?:\?\S*)?(?: -> (.*))?$", re.DOTALL)


class RepeatedFailures(logging.Filter):
    """Lets kopf's report of a failed request through once per resource and half a minute, as a warning.

    kopf logs each attempt as an error although it goes on trying; with us it tries for ever.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide about one record."""
        match = _ATTEMPT.match(record.getMessage()) if record.name.startswith("kopf.") else None
        if match is None:
            return True
        target, now = match[2], self._clock()
        if now - self._seen.get(target, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        self._seen[target] = now
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def watches_lost(record: logging.LogRecord) -> bool:
    """Let the end of a watch whose definition went through as one warning, and none of what follows from it.

    kopf gives up as a whole then, and the operator begins anew.
    """
    error = record.exc_info[1] if record.exc_info else None
    # Only main.py knows kopf; a test holds the name of its error.
    if type(error).__name__ != "APINotFoundError":
        return True
    match = _WATCH.match(record.getMessage())
    if match is None:
        return False
    record.msg, record.args = f"{match[1]} is not served any more: all watches begin anew", ()
    record.levelno, record.levelname, record.exc_info, record.exc_text = logging.WARNING, "WARNING", None, None
    return True


def install() -> None:
    """Filter what all handlers of the root logger write, and drop kopf's line about each event."""
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    quiet = RepeatedFailures()
    for handler in logging.getLogger().handlers:
        handler.addFilter(quiet)
        handler.addFilter(watches_lost)
