"""Meetings as they are known and as a node lists them, for tests of what a round of polls does to them."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from b3lb.meetings.life import NodeVerdict, Verdict
from b3lb.meetings.model import (
    Attribution,
    KnownMeeting,
    Listing,
    MeetingDetails,
    MeetingState,
    SeenMeeting,
)

NOW = datetime(2026, 11, 23, 10, 30, 15, tzinfo=UTC)
TICK = timedelta(seconds=15)
SEEN_AT = NOW - TICK
FIRST_SEEN_AT = NOW - timedelta(hours=1)
CREATED_AT = NOW - timedelta(hours=2)
CREATE_TIME = round(CREATED_AT.timestamp() * 1000)
ATTRIBUTION: Attribution = {("ALPHA", 0): 10, ("ALPHA", 1): 11, ("BETA", 0): 20}


def known(number: int, **changes: Any) -> KnownMeeting:
    """Return an open meeting of ALPHA-001 on node 1, with the digest that `seen` gives it as well."""
    made = KnownMeeting(
        id=number,
        node_id=1,
        internal_id=f"i{number}",
        meeting_id=f"ALPHA-001-m{number}",
        secret_id=11,
        parent_internal_id=None,
        state=MeetingState.OPEN,
        first_seen_at=FIRST_SEEN_AT,
        last_seen_at=None,
        lost_at=None,
        attendees=3,
        digest=b"digest",
        has_element=True,
    )
    return dataclasses.replace(made, **changes)


def lost(number: int, *, hours: float = 1.0, **changes: Any) -> KnownMeeting:
    """Return a meeting that was lost some hours ago, a tick after it was seen last."""
    lost_at = NOW - timedelta(hours=hours)
    first_seen_at = lost_at - timedelta(hours=1)
    return known(
        number,
        state=MeetingState.LOST,
        first_seen_at=first_seen_at,
        last_seen_at=lost_at - TICK,
        lost_at=lost_at,
        **changes,
    )


def details(number: int, **changes: Any) -> MeetingDetails:
    made = MeetingDetails(
        meeting_id=f"ALPHA-001-m{number}",
        create_time=CREATE_TIME,
        parent_id=None,
        listeners=1,
        voices=2,
        videos=1,
        moderators=1,
        origin="Moodle",
        origin_server="moodle.example.org",
        element=b"element",
        user_hashes=b"12345678",
    )
    return dataclasses.replace(made, **changes)


def seen(number: int, *, digest: bytes = b"digest", attendees: int = 3, **changes: Any) -> SeenMeeting:
    """Return a meeting with its details."""
    return SeenMeeting(f"i{number}", digest, attendees, details(number, **changes))


def same(number: int) -> SeenMeeting:
    """Return a meeting whose element is as it was known."""
    return SeenMeeting(f"i{number}", b"digest", 3, None)


def listed(*meetings: SeenMeeting, clock_offset: timedelta = timedelta()) -> NodeVerdict:
    return NodeVerdict(Verdict.LISTED, Listing(meetings, clock_offset), SEEN_AT)


KEPT = NodeVerdict(Verdict.KEPT, None, SEEN_AT)
UNHEALTHY = NodeVerdict(Verdict.UNHEALTHY, None, SEEN_AT)
GONE = NodeVerdict(Verdict.GONE, None, SEEN_AT)
