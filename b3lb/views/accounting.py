"""What tenants had in each month, as people and programs are shown it: pure functions."""

from __future__ import annotations

from b3lb.db.accounts import AccountedMonth
from b3lb.views.values import Document

_MINUTE = 60_000


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
