"""How meetings begin, get lost, are found and end: a pure function of what is known and what a round of polls says.

A meeting ends in three ways only: its node is healthy and does not list it any more, it has been lost for too long, or
its node is removed. An unhealthy node hides its meetings and ends none. Each node judges its own meetings alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from b3lb.meetings.attribution import attribute
from b3lb.meetings.model import (
    Attribution,
    KnownMeeting,
    Listing,
    MeetingChanges,
    MeetingDetails,
    MeetingState,
    MeetingWrite,
    SeenMeeting,
)

LOST_AFTER = timedelta(days=1)

_LONGEST_ROUND = timedelta(minutes=1)
# What the clocks of node and database may be wrong by and still be believed; weeks are not.
_UNNOTICED = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# BigBlueButton's first release is of 2010: a clock that says less was never set.
_EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)


class Verdict(StrEnum):
    """What a round says of a node's meetings.

    ``LISTED``: the node is Ready and answered. ``KEPT``: nothing is known (it is suspect, its cluster's guard holds, or
    it was not polled). ``UNHEALTHY``: it is not Ready, Disabled or blocked. ``GONE``: it is removed.
    """

    LISTED = "listed"
    KEPT = "kept"
    UNHEALTHY = "unhealthy"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """The verdict on one node.

    ``listing`` is set for LISTED. ``seen_at`` is when the node's last good poll before this round was, None if there
    was none. A meeting that is lost for ``lost_after`` ends. ``listed_at`` is when the meetings were last compared with
    the node's listing, so that those that are not known began later; None if that is not certain.
    """

    kind: Verdict
    listing: Listing | None = None
    seen_at: datetime | None = None
    lost_after: timedelta = LOST_AFTER
    listed_at: datetime | None = None


def known_digests(known: Iterable[KnownMeeting], attribution: Attribution) -> dict[int, dict[str, bytes]]:
    """Return what a poll of each node need not read again: node's ID → internal meeting ID → digest of its element.

    A meeting whose API secret became known, or is another one now, is left out, for its element is wanted.
    """
    digests: dict[int, dict[str, bytes]] = {}
    for node_id, meetings in _by_node(known).items():
        rooms = _Rooms(meetings.values(), (), attribution)
        digests[node_id] = {
            meeting.internal_id: meeting.digest
            for meeting in meetings.values()
            if not _wants_element(meeting, rooms.owner(meeting.meeting_id, meeting.parent_internal_id, meeting))
        }
    return digests


def decide_meetings(
    known: Sequence[KnownMeeting],
    verdicts: Mapping[int, NodeVerdict],
    attribution: Attribution,
    *,
    now: datetime,
    begun_at: datetime,
) -> MeetingChanges:
    """Return what a round of polls does to the meetings.

    Args:
        known: All meetings that have not ended.
        verdicts: By the node's ID; the meetings of other nodes stay as they are.
        attribution: Whose meetings are whose.
        now: The round's time.
        begun_at: No poll of the round began before; a meeting that was first seen since then may be missing in a
            listing and has not ended.
    """
    round_ = _Round(attribution, now, begun_at)
    of_nodes = _by_node(known)
    for node_id, verdict in sorted(verdicts.items()):
        meetings = of_nodes.get(node_id, {})
        if verdict.kind is Verdict.LISTED and verdict.listing is not None:
            round_.listed(node_id, meetings, verdict.listing, verdict)
        else:
            round_.not_listed(meetings.values(), verdict)
    return round_.changes()


@dataclass(frozen=True, slots=True)
class _Node:
    """A healthy node of a round."""

    node_id: int
    clock_offset: timedelta
    listed_at: datetime | None
    rooms: _Rooms


class _Round:
    """Collects the changes of one round."""

    def __init__(self, attribution: Attribution, now: datetime, begun_at: datetime) -> None:
        self._attribution = attribution
        self._now = now
        self._begun_at = begun_at
        self._writes: list[MeetingWrite] = []
        self._found: list[int] = []
        self._lost: dict[int, datetime] = {}
        self._ended: dict[int, datetime] = {}

    def changes(self) -> MeetingChanges:
        return MeetingChanges(tuple(self._writes), tuple(self._found), self._lost, self._ended)

    def listed(
        self, node_id: int, meetings: Mapping[str, KnownMeeting], listing: Listing, verdict: NodeVerdict
    ) -> None:
        """Compare a healthy node's meetings with its listing."""
        rooms = _Rooms(meetings.values(), listing.meetings, self._attribution)
        node = _Node(node_id, listing.clock_offset, verdict.listed_at, rooms)
        for seen in listing.meetings:
            before = meetings.get(seen.internal_id)
            write = None if seen.details is None else self._write(node, seen, seen.details, before)
            if write is not None and (before is None or _differs(write, before)):
                self._writes.append(write)
            elif before is not None and before.state is MeetingState.LOST:
                self._found.append(before.id)
        present = {seen.internal_id for seen in listing.meetings}
        for meeting in meetings.values():
            if meeting.internal_id not in present and not self._is_younger(meeting):
                self._end(meeting, verdict.seen_at)

    def not_listed(self, meetings: Iterable[KnownMeeting], verdict: NodeVerdict) -> None:
        """Judge the meetings of a node that has not said which it has."""
        for meeting in meetings:
            lost_at = meeting.lost_at
            if lost_at is None and verdict.kind is Verdict.UNHEALTHY:
                lost_at = self._now
            overdue = lost_at is not None and self._now - lost_at >= verdict.lost_after
            if overdue or verdict.kind is Verdict.GONE:
                self._end(meeting, verdict.seen_at)
            elif lost_at is not None and meeting.lost_at is None:
                self._lost[meeting.id] = self._last_seen(meeting, verdict.seen_at)

    def _is_younger(self, meeting: KnownMeeting) -> bool:
        """Whether the round may have begun before the meeting; later than a round is before the clock was set back."""
        return self._begun_at <= meeting.first_seen_at <= self._now + _LONGEST_ROUND

    def _end(self, meeting: KnownMeeting, seen_at: datetime | None) -> None:
        self._ended[meeting.id] = self._last_seen(meeting, seen_at)

    def _last_seen(self, meeting: KnownMeeting, seen_at: datetime | None) -> datetime:
        """Return when the meeting was last seen: never before it was first seen, and not in the future."""
        last_seen_at = meeting.last_seen_at or seen_at or meeting.first_seen_at
        return max(meeting.first_seen_at, min(last_seen_at, self._now))

    def _write(
        self, node: _Node, seen: SeenMeeting, details: MeetingDetails, before: KnownMeeting | None
    ) -> MeetingWrite:
        first_seen_at = self._now if before is None else before.first_seen_at
        return MeetingWrite(
            node_id=node.node_id,
            internal_id=seen.internal_id,
            meeting_id=details.meeting_id,
            secret_id=node.rooms.owner(details.meeting_id, details.parent_id, before),
            parent_internal_id=node.rooms.parent(details.parent_id, before),
            created_at=_created_at(details.create_time, node, first_seen_at),
            first_seen_at=first_seen_at,
            attendees=seen.attendees,
            listeners=details.listeners,
            voices=details.voices,
            videos=details.videos,
            moderators=details.moderators,
            origin=details.origin,
            origin_server=details.origin_server,
            digest=seen.digest,
            element=details.element,
            user_hashes=details.user_hashes,
        )


class _Room(NamedTuple):
    """A meeting that may have breakout rooms, and the ID of its secret."""

    internal_id: str
    secret_id: int | None


class _Rooms:
    """Whose the meetings of one node are: by their prefix, else, as breakout rooms, by their parent."""

    def __init__(self, known: Collection[KnownMeeting], seen: Sequence[SeenMeeting], attribution: Attribution) -> None:
        self._known = known
        self._seen = seen
        self._attribution = attribution
        self._parents: dict[str, _Room] | None = None

    def owner(self, meeting_id: str, parent_id: str | None, before: KnownMeeting | None) -> int | None:
        """Return the ID of a meeting's secret; one that is known no longer stays, for meetings outlive it.

        Its own prefix goes first: whoever may create with it could otherwise name anybody's meeting as the parent, and
        put a room into a list that is not theirs.
        """
        own = attribute(meeting_id, self._attribution)
        previous = None if before is None else before.secret_id
        room = None if own is not None or parent_id is None else self._find(parent_id)
        return _first(own, None if room is None else room.secret_id, previous)

    def parent(self, parent_id: str | None, before: KnownMeeting | None) -> str | None:
        """Return the parent's internal ID; of a parent that is gone, what was known or what the breakout room says."""
        if parent_id is None:
            return None
        room = self._find(parent_id)
        if room is not None:
            return room.internal_id
        return parent_id if before is None or before.parent_internal_id is None else before.parent_internal_id

    def _find(self, parent_id: str) -> _Room | None:
        # Most nodes have no breakout rooms.
        if self._parents is None:
            self._parents = self._all_parents()
        return self._parents.get(parent_id)

    def _all_parents(self) -> dict[str, _Room]:
        """Return the rooms by meeting ID and, going before it, by internal ID.

        What is listed now comes last: of two meetings with one ID, it is the one that runs.
        """
        before = {meeting.internal_id: meeting for meeting in self._known}
        found = {
            meeting.internal_id: meeting.meeting_id for meeting in self._known if meeting.parent_internal_id is None
        }
        for item in self._seen:
            if item.details is not None and item.details.parent_id is None:
                found.pop(item.internal_id, None)
                found[item.internal_id] = item.details.meeting_id
        rooms = [
            (meeting_id, _Room(internal_id, self.owner(meeting_id, None, before.get(internal_id))))
            for internal_id, meeting_id in found.items()
        ]
        return {**dict(rooms), **{room.internal_id: room for _, room in rooms}}


def _first(*secrets: int | None) -> int | None:
    return next((secret for secret in secrets if secret is not None), None)


def _by_node(known: Iterable[KnownMeeting]) -> dict[int, dict[str, KnownMeeting]]:
    of_nodes: dict[int, dict[str, KnownMeeting]] = {}
    for meeting in known:
        of_nodes.setdefault(meeting.node_id, {})[meeting.internal_id] = meeting
    return of_nodes


def _wants_element(meeting: KnownMeeting, secret_id: int | None) -> bool:
    return secret_id is not None and (secret_id != meeting.secret_id or not meeting.has_element)


def _differs(write: MeetingWrite, before: KnownMeeting) -> bool:
    """Whether the row is to be written; the digest stands for everything that the node says."""
    return (
        write.digest != before.digest
        or _wants_element(before, write.secret_id)
        or write.parent_internal_id != before.parent_internal_id
    )


def _created_at(create_time: int, node: _Node, first_seen_at: datetime) -> datetime:
    """Return a node's time of creation by our clock; a time that cannot be is the time of first sight.

    A meeting that the node did not list some time ago was not there then: a clock that says so is wrong, and would put
    weeks into the durations that are counted.
    """
    try:
        created_at = _EPOCH + timedelta(milliseconds=create_time) - node.clock_offset
    except OverflowError:
        return first_seen_at
    if not _EARLIEST <= created_at <= first_seen_at:
        return first_seen_at
    # A listing in the future is of before the database's clock was set back.
    if node.listed_at is None or node.listed_at > first_seen_at:
        return created_at
    return max(created_at, node.listed_at - _UNNOTICED)
