"""What tenants had in each month, as people and programs are shown it: pure functions."""

from __future__ import annotations

from datetime import date

from b3lb.db.accounts import AccountedMonth
from b3lb.views.values import Document

_MINUTE = 60_000
_YEAR_DIGITS, _MONTH_DIGITS = 4, 2


def month_of(text: str) -> date:
    """Return the first day of a month that is written as ``YYYY-MM``.

    Raises:
        ValueError: It is not.
    """
    year, _, month = text.partition("-")
    digits = (len(year), len(month)) == (_YEAR_DIGITS, _MONTH_DIGITS) and (year + month).isascii()
    if digits and (year + month).isdigit():
        try:
            return date(int(year), int(month), 1)
        except ValueError:
            pass
    raise ValueError(f"{text!r} is not a month: write YYYY-MM, such as 2026-11")


def month_document(month: AccountedMonth) -> Document:
    """Return a month: minutes rounded, milliseconds exact."""
    return {
        "month": f"{month.month:%Y-%m}",
        "tenant": month.slug,
        "timeZone": month.time_zone,
        "participantMinutes": round(month.participant_milliseconds / _MINUTE, 3),
        "meetingMinutes": round(month.meeting_milliseconds / _MINUTE, 3),
        "participantMilliseconds": month.participant_milliseconds,
        "meetingMilliseconds": month.meeting_milliseconds,
        "peakAttendees": month.peak_attendees,
        "peakMeetings": month.peak_meetings,
        "recordingBytes": month.recording_bytes,
        "startedAt": month.started_at.isoformat(),
        "closedAt": None if month.closed_at is None else month.closed_at.isoformat(),
        "asOf": month.written_at.isoformat(),
    }
