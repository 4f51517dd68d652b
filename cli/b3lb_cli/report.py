"""A secret's list of meetings for people and for programs. Pure: rows and times in, text out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lxml import etree

from b3lb.db.listed import ListedMeeting
from b3lb_cli.table import ago, shown, table

STALE = timedelta(seconds=150)
"""The age from which the operator, too, calls what is known stale."""

AHEAD = timedelta(seconds=60)
"""So far in the future a round of polls may be said to be; the operator, too, calls a later one stale."""

_HEADINGS = ("MEETING", "NAME", "ATTENDEES", "VOICES", "VIDEOS", "MODERATORS", "AGE", "NODE")
_NUMBERS = frozenset({"ATTENDEES", "VOICES", "VIDEOS", "MODERATORS"})
_ID_COLUMNS = 72
_NAME_COLUMNS = 40


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


def as_table(report: Report) -> str:
    """Return one line per meeting under headings, or nothing for an empty list."""
    return table(_HEADINGS, [_line(meeting, report.now) for meeting in report.meetings], right=_NUMBERS)


def as_json(report: Report) -> str:
    """Return the list as one JSON object; times are ISO 8601 in UTC, ages in seconds."""
    age = report.age
    content = {
        "namespace": report.namespace,
        "secret": report.secret,
        "version": report.version,
        "digest": report.digest.hex(),
        "reason": report.reason or None,
        "asOf": None if report.as_of is None else report.as_of.isoformat(),
        "ageSeconds": None if age is None else round(age.total_seconds(), 3),
        "totals": {"meetings": len(report.meetings), "attendees": report.attendees},
        "meetings": [_object(meeting, report.now) for meeting in report.meetings],
    }
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def summary(report: Report) -> str:
    """Return one line about the whole: how many, how old, and why there are none if there is a reason."""
    if report.reason:
        state = f"the list of {report.secret} is empty: {report.reason}"
    else:
        meetings = len(report.meetings)
        state = f"{meetings} meeting{'' if meetings == 1 else 's'}, {report.attendees} attending"
    if report.age is None:
        return f"{state}; no node has been polled yet"
    if report.age < -AHEAD:
        return f"{state}; as of {ago(-report.age)} in the future, which is stale: was the database's clock set back?"
    line = f"{state}; as of {ago(max(report.age, timedelta()))} ago"
    return f"{line}, which is stale: is the task check-nodes running?" if report.age > STALE else line


def _line(meeting: ListedMeeting, now: datetime) -> tuple[str, ...]:
    element = _parse(meeting)
    return (
        shown(_text(element, "meetingID"), _ID_COLUMNS),
        shown(_text(element, "meetingName"), _NAME_COLUMNS),
        str(meeting.attendees),
        str(meeting.voices),
        str(meeting.videos),
        str(meeting.moderators),
        ago(now - meeting.created_at),
        meeting.node,
    )


def _object(meeting: ListedMeeting, now: datetime) -> dict[str, Any]:
    element = _parse(meeting)
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


def _parse(meeting: ListedMeeting) -> etree._Element:
    return etree.fromstring(meeting.element, etree.XMLParser(resolve_entities=False, no_network=True))


def _text(element: etree._Element, path: str) -> str:
    return element.findtext(path) or ""
