"""The list of meetings that an API secret sees, as people and programs are shown it, without passwords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from lxml import etree

from b3lb.db.engine import database_clock
from b3lb.db.listed import ListedMeeting, listed_meetings
from b3lb.db.lists import read_list
from b3lb.views.values import Document


@dataclass(frozen=True, slots=True)
class Report:
    """A secret's list, and how old it is.

    ``digest`` is the content's. ``reason`` says why the list is empty whatever runs, else it is empty itself. ``as_of``
    is when the last round of polls was due, None before the first; ``now`` the database's clock.
    """

    namespace: str
    secret: str
    version: int
    digest: bytes
    reason: str
    as_of: datetime | None
    now: datetime
    meetings: Sequence[ListedMeeting]

    @property
    def age(self) -> timedelta | None:
        """How old the data is, None before the first poll; negative if the database's clock was set back."""
        return None if self.as_of is None else self.now - self.as_of

    @property
    def attendees(self) -> int:
        """The attendees of all meetings."""
        return sum(meeting.attendees for meeting in self.meetings)


def read_report(connection: sa.Connection, namespace: str, secret: str) -> Report | None:
    """Return the list of a BBBSecret, None if there is none of that name: at most four statements."""
    found = read_list(connection, namespace, secret)
    if found is None:
        return None
    return Report(
        namespace=namespace,
        secret=secret,
        version=found.version,
        digest=found.digest,
        reason=found.reason,
        as_of=found.as_of,
        now=database_clock(connection),
        meetings=listed_meetings(connection, namespace, secret),
    )


def meetings_document(report: Report) -> Document:
    """Return the list as one object; times are ISO 8601 in UTC, ages in seconds."""
    age = report.age
    return {
        "namespace": report.namespace,
        "secret": report.secret,
        "version": report.version,
        "digest": report.digest.hex(),
        "reason": report.reason or None,
        "asOf": None if report.as_of is None else report.as_of.isoformat(),
        "ageSeconds": None if age is None else round(age.total_seconds(), 3),
        "totals": {"meetings": len(report.meetings), "attendees": report.attendees},
        "meetings": [_meeting(meeting, report.now) for meeting in report.meetings],
    }


def _meeting(meeting: ListedMeeting, now: datetime) -> Document:
    element = etree.fromstring(meeting.element, etree.XMLParser(resolve_entities=False, no_network=True))
    return {
        "meetingID": _text(element, "meetingID"),
        "internalMeetingID": meeting.internal_id,
        "name": _text(element, "meetingName"),
        "node": meeting.node,
        "isBreakout": _text(element, "isBreakout") == "true",
        "createdAt": meeting.created_at.isoformat(),
        "ageSeconds": max(round((now - meeting.created_at).total_seconds(), 3), 0),
        "attendees": meeting.attendees,
        "listeners": meeting.listeners,
        "voices": meeting.voices,
        "videos": meeting.videos,
        "moderators": meeting.moderators,
        "origin": meeting.origin,
        "originServerName": meeting.origin_server,
    }


def _text(element: etree._Element, path: str) -> str:
    return element.findtext(path) or ""
