"""A part of the day by the clock on the wall, in which work may begin: pure.

What counts is the time of day in its time zone. So in the night in which the clock is set forward the window is as much
shorter, and an hour that comes twice belongs to it twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

_MINUTE = timedelta(minutes=1)
_LONGEST_LOOK = timedelta(days=3)
"""A clock that is set forward may pass a window over in one night, hardly in the next as well."""


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` on until before ``end``, over midnight where ``end`` is the earlier; both are whole minutes."""

    start: time
    end: time
    zone: tzinfo = UTC

    def is_open(self, moment: datetime) -> bool:
        """Whether work may begin at ``moment``, which has a time zone."""
        clock = moment.astimezone(self.zone).time()
        if self.start < self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end

    def next_change(self, moment: datetime) -> datetime:
        """Return when the window opens or, if it is open, closes after ``moment``: a whole minute, UTC."""
        now = self.is_open(moment)
        # Minute by minute: so no rule about how clocks are set has to be known.
        candidate = moment.astimezone(UTC).replace(second=0, microsecond=0)
        last = candidate + _LONGEST_LOOK
        while candidate < last:
            candidate += _MINUTE
            if self.is_open(candidate) != now:
                return candidate
        return last

    def opens_at(self, moment: datetime) -> datetime | None:
        """Return when work may begin next, None if it may at ``moment``."""
        return None if self.is_open(moment) else self.next_change(moment)


def parse_window(start: str, end: str, time_zone: str | None = None) -> Window:
    """Return the window between two times of day written as ``20:00``, in ``time_zone`` (IANA, default UTC).

    Raises:
        ValueError: They are no times of day, or the same, or there is no such time zone.
    """
    first, last = (datetime.strptime(text, "%H:%M").time() for text in (start, end))  # noqa: DTZ007 - times of day
    if first == last:
        raise ValueError("a window that ends when it starts is none")
    try:
        zone = ZoneInfo(time_zone) if time_zone else UTC
    except (KeyError, OSError) as error:
        raise ValueError(f"there is no time zone {time_zone!r}") from error
    return Window(first, last, zone)
