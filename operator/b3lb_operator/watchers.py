"""Whether every kind of resource is still watched.

kopf starts one task for each kind and namespace. An answer of 404, as the API server gives it in the moment in which a
definition is created again, ends that task, and kopf starts it no more; nothing but a line in its log says so. Only a
restart helps.
"""

from __future__ import annotations

import asyncio
import logging
import re

# The logger of the module that starts the watchers: kopf names it in no interface, so a test holds it.
LOGGER = "kopf._core.reactor.orchestration"
_FAILED = re.compile(r"^Watcher for (?P<what>\S+) has failed: ")


class WatcherMonitor(logging.Handler):
    """Remembers the watchers that have failed, from kopf's log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._failed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of kopf's log."""
        match = _FAILED.match(record.getMessage())
        if match is not None:
            self._failed.add(match["what"])

    def install(self) -> None:
        """Listen to kopf's log."""
        logging.getLogger(LOGGER).addHandler(self)

    def problem(self) -> str | None:
        """Return which watchers have failed and were not started again, or None; called within the event loop."""
        if not self._failed:
            return None
        running = {task.get_name().removeprefix("watcher for ") for task in asyncio.all_tasks()}
        self._failed -= running
        return f"not watched any more: {', '.join(sorted(self._failed))}" if self._failed else None
