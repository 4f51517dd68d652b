"""The integral of a meeting's attendees over time, in milliseconds, as pieces of SQL.

What a poll saw holds until the next good one. A row has the integral up to ``attendees_since``, and what came since
then is attendees times time. Points in time are cut to whole milliseconds one by one, so no sum of pieces ever differs
from the whole.
"""

from __future__ import annotations


def milliseconds(moment: str) -> str:
    """Return the SQL of a point in time as whole milliseconds since 1970."""
    return f"floor(extract(epoch FROM {moment}) * 1000)::bigint"


def attended_since(until: str) -> str:
    """Return the SQL of the milliseconds by which a row of ``meetings`` is behind at the point in time ``until``.

    Zero of a meeting that is lost or ended, and of one whose time is not counted yet.
    """
    return (
        f"CASE WHEN meetings.state = 'open' AND meetings.attendees_since IS NOT NULL AND {until} IS NOT NULL"
        f" THEN meetings.attendees * greatest({milliseconds(until)} - {milliseconds('meetings.attendees_since')}, 0)"
        " ELSE 0 END"
    )


def lasted(until: str) -> str:
    """Return the SQL of the milliseconds that a row of ``meetings`` lasted until ``until``, never less than counted."""
    return (
        f"greatest(floor(extract(epoch FROM {until} - meetings.created_at) * 1000)::bigint,"
        " meetings.counted_milliseconds)"
    )
