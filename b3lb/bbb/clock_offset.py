"""How far a node's clock is ahead of ours, by the header ``Date`` of its answer.

Source: RFC 9110, section 6.6.1
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# Date has whole seconds and is a little old when it arrives; what is less than this is no difference.
RESOLUTION = timedelta(seconds=2)
# A clock that starts at 1970 without a battery is meant; beyond this it is not a clock.
MAXIMUM = timedelta(days=100 * 366)


def clock_offset(date: str, now: datetime) -> timedelta:
    """Return how far the clock that printed ``date`` is ahead of ``now``; zero if that cannot be said."""
    try:
        then = parsedate_to_datetime(date[:64])
        if then.tzinfo is None:
            then = then.replace(tzinfo=UTC)
        # The date's second has passed half on average.
        offset = then + timedelta(seconds=0.5) - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return timedelta()
    return offset if RESOLUTION < abs(offset) <= MAXIMUM else timedelta()
