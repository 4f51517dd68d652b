"""What tenants had in each month, for people and for programs. Pure: documents in, text out."""

from __future__ import annotations

import csv
import io

from b3lb_cli.output import Column, Item, Listing, count, size, text

_SLUG_COLUMNS = 20

LISTING = Listing(
    "months",
    (
        text("MONTH", "month"),
        text("TENANT", "tenant", columns=_SLUG_COLUMNS),
        Column("PARTICIPANT MIN", lambda item, _now: f"{item['participantMinutes']:.1f}", right=True),
        Column("MEETING MIN", lambda item, _now: f"{item['meetingMinutes']:.1f}", right=True),
        count("PEAK ATTENDEES", "peakAttendees"),
        count("PEAK MEETINGS", "peakMeetings"),
        size("RECORDINGS", "recordingBytes"),
        Column("STATE", lambda item, _now: "running" if item["closedAt"] is None else "closed"),
    ),
)

FIELDS = (
    "month",
    "tenant",
    "timeZone",
    "participantMinutes",
    "meetingMinutes",
    "participantMilliseconds",
    "meetingMilliseconds",
    "peakAttendees",
    "peakMeetings",
    "recordingBytes",
    "startedAt",
    "closedAt",
    "asOf",
)


def as_csv(document: Item) -> str:
    """Return the months by RFC 4180, with a heading; what is not known is empty."""
    written = io.StringIO()
    writer = csv.DictWriter(written, FIELDS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(document["items"])
    return written.getvalue()
