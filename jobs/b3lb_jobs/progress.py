"""What a task says of its progress, written now and then; the work never fails for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from b3lb.db.task_attempts import record_progress
from b3lb.logs import get_logger
from b3lb_jobs.database import Database
from b3lb_jobs.errors import TransientError

PAUSE_SECONDS = 10.0
"""Least time between two writes."""

_WRITE_SECONDS = 2.0

_log = get_logger(__name__)


@dataclass(slots=True)
class ProgressWriter:
    """Writes what is said first, and then at most every ten seconds; ``monotonic`` returns seconds."""

    database: Database
    run_id: UUID
    monotonic: Callable[[], float]
    _next_at: float | None = None

    def __call__(self, percent: float, message: str) -> None:
        """Write it, if it is time to."""
        now = self.monotonic()
        if self._next_at is not None and now < self._next_at:
            return
        self._next_at = now + PAUSE_SECONDS
        try:
            with self.database.transaction(seconds=_WRITE_SECONDS) as connection:
                record_progress(connection, self.run_id, percent=percent, message=message)
        except TransientError as error:
            _log.warning("progress is not noted", run=str(self.run_id), reason=str(error))
