"""The database's clock, read once per connection and carried on by the local monotonic clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class DatabaseClock:
    """Tells the database's time without asking it.

    ``read_at`` is the value of ``monotonic`` (seconds) at which the database said ``database_time``.
    """

    database_time: datetime
    read_at: float
    monotonic: Callable[[], float]

    def now(self) -> datetime:
        """Return the database's time."""
        return self.database_time + timedelta(seconds=self.monotonic() - self.read_at)

    def until(self, moment: datetime) -> float:
        """Return the seconds until ``moment``, negative when it has passed."""
        return (moment - self.now()).total_seconds()
