"""A farm in memory, and what a load balancer has to know of it after each of its ticks.

Written from the rules alone: it shares no code with what it judges. Its time is the database's and what the test added
to it, so a day passes without waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from dev.farm.model import Attendee, BreakoutInfo, Meeting, Node, Role

UNHEALTHY_AFTER = 3
HEALTHY_AFTER = 2
LOST_AFTER = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Owner = tuple[str, int]
"""Slug and sub-id of a secret."""


@dataclass(slots=True)
class Sight:
    """A meeting as a load balancer has to know it; ``counted`` is what it has added to its owner's counters."""

    node: str
    internal_id: str
    owner: Owner | None
    parent: str | None
    created_at: datetime
    first_seen_at: datetime
    state: str = "open"
    last_seen_at: datetime | None = None
    lost_at: datetime | None = None
    client_id: str = ""
    users: frozenset[str] = frozenset()
    gauges: tuple[int, int, int, int] = (0, 0, 0, 0)
    joined: int = 0
    counted: tuple[int, int, int] = (0, 0, 0)
    attended: int = 0
    attended_until: datetime | None = None

    def attend(self, until: datetime | None) -> None:
        """Count the milliseconds of those who were there since the last count, if any counted."""
        if until is not None and self.attended_until is not None and until > self.attended_until:
            self.attended += len(self.users) * (_milliseconds(until) - _milliseconds(self.attended_until))
            self.attended_until = until


@dataclass(slots=True)
class Server:
    """A node: what is on it, how it behaves, and its health as a load balancer has to see it."""

    farm: Node
    clock_ahead: timedelta
    answering: bool = True
    disabled: bool = False
    removed: bool = False
    ready: bool = False
    proven: bool = False
    failures: int = 0
    successes: int = 0
    good_at: datetime | None = None

    @property
    def polled_ever_again(self) -> bool:
        """Whether it is to be polled at all."""
        return not self.disabled and not self.removed

    def forget(self) -> None:
        """Begin anew: the node's configuration changed."""
        self.ready = self.proven = False
        self.failures = self.successes = 0

    def poll(self, at: datetime) -> None:
        """Count a poll."""
        if self.answering:
            self.failures, self.good_at = 0, at
            self.successes += 1
            self.ready = self.ready or not self.proven or self.successes >= HEALTHY_AFTER
        else:
            self.successes = 0
            self.failures += 1
            self.ready = self.ready and self.failures < UNHEALTHY_AFTER
        self.proven = self.proven or self.ready


@dataclass
class Truth:
    """The farm and the sights of its meetings; ``owners`` are the secrets that exist."""

    servers: dict[str, Server]
    owners: set[Owner]
    sights: dict[tuple[str, str], Sight] = field(default_factory=dict)
    number: int = 0
    created_at: datetime = EPOCH
    peaks: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Iterable[str], owners: Iterable[Owner]) -> Truth:
        """Return an empty farm; the nodes' clocks differ."""
        servers = {
            name: Server(Node(name, Random(0), base_load=100), timedelta(seconds=100 * index))
            for index, name in enumerate(names)
        }
        return cls(servers, set(owners))

    def meetings(self) -> list[tuple[Server, Meeting]]:
        """Return all meetings that run, with their nodes."""
        return [(server, meeting) for server in self.servers.values() for meeting in server.farm.meetings.values()]

    def create(self, server: Server, meeting_id: str, now: datetime, *, parent: Meeting | None = None) -> None:
        """Create a meeting a second ago, no two at the same time; one with that ID that is there already is over."""
        self.number += 1
        self.created_at = max(self.created_at + timedelta(milliseconds=1), now - timedelta(seconds=1))
        create_time = (self.created_at + server.clock_ahead - EPOCH) // timedelta(milliseconds=1)
        server.farm.meetings.pop(meeting_id, None)
        server.farm.meetings[meeting_id] = Meeting(
            name=f"Room <{self.number}> & more",
            meeting_id=meeting_id,
            internal_id=f"internal{self.number}-{create_time}",
            create_time=create_time,
            voice_bridge="70000",
            attendee_password="ap",
            moderator_password="mp",
            metadata={"bbb-origin": "Moodle", "name": "a & b"},
            breakout=None if parent is None else BreakoutInfo(parent.internal_id, 1, free_join=True),
        )

    def join(self, meeting: Meeting, *, count: int, moderator: bool) -> None:
        """Let users come; what they do follows from their numbers."""
        for _ in range(count):
            self.number += 1
            attendee = Attendee(
                user_id=f"w_{self.number}",
                name=f"User <{self.number}> & Co",
                role=Role.MODERATOR if moderator else Role.VIEWER,
                listening_only=self.number % 3 == 0,
                voice=self.number % 3 == 1,
                video=self.number % 2 == 0,
            )
            meeting.attendees.append(attendee)
        meeting.xml = None

    def tick(self, at: datetime, polled: Iterable[str]) -> None:
        """Note a tick that was committed: what a load balancer knows now."""
        asked = set(polled)
        for name, server in self.servers.items():
            sights = [sight for sight in self.sights.values() if sight.node == name and sight.state != "ended"]
            good_before = server.good_at
            if name in asked:
                server.poll(at)
            if server.removed:
                self._end(sights, good_before)
            elif name in asked and server.answering and server.ready:
                self._list(server, sights, at, good_before)
            else:
                if server.disabled or not server.ready:
                    _hide(sights, at, good_before)
                overdue = (sight for sight in sights if sight.lost_at is not None and at - sight.lost_at >= LOST_AFTER)
                self._end(overdue, good_before)
        for slug, running in self.running().items():
            before = self.peaks.get(slug, (0, 0))
            self.peaks[slug] = max(before[0], running[0]), max(before[1], running[1])

    def open_of(self, owner: Owner) -> list[Sight]:
        """Return what a secret's list has to hold, oldest first; sub-id 0 sees its tenant."""
        slug, sub_id = owner
        return sorted(
            (
                sight
                for sight in self.sights.values()
                if sight.state == "open" and sight.owner in ({owner} if sub_id else self._tenant(slug))
            ),
            key=lambda sight: sight.created_at,
        )

    def counters(self) -> dict[Owner, tuple[int, int, int]]:
        """Return meetings, attendees joined and milliseconds by owner."""
        found: dict[Owner, tuple[int, int, int]] = {}
        for sight in self.sights.values():
            if sight.owner is not None and sight.counted[0]:
                meetings, attendees, milliseconds = found.get(sight.owner, (0, 0, 0))
                found[sight.owner] = (
                    meetings + sight.counted[0],
                    attendees + sight.counted[1],
                    milliseconds + sight.counted[2],
                )
        return found

    def accounts(self) -> dict[str, tuple[int, int]]:
        """Return the milliseconds of participants and of meetings by slug, up to each node's last good poll."""
        found: dict[str, tuple[int, int]] = {}
        for sight in self.sights.values():
            if sight.owner is None:
                continue
            seen = max(sight.first_seen_at, sight.last_seen_at or self.servers[sight.node].good_at or EPOCH)
            lasted = (seen - sight.created_at) // timedelta(milliseconds=1)
            running = 0
            if sight.state == "open" and sight.attended_until is not None:
                running = len(sight.users) * max(_milliseconds(seen) - _milliseconds(sight.attended_until), 0)
            participants, meetings = found.get(sight.owner[0], (0, 0))
            found[sight.owner[0]] = (
                participants + sight.attended + running,
                meetings + max(lasted, sight.counted[2]),
            )
        return found

    def running(self) -> dict[str, tuple[int, int]]:
        """Return the meetings that run and their attendees by slug."""
        found: dict[str, tuple[int, int]] = {}
        for sight in self.sights.values():
            if sight.state == "open" and sight.owner is not None:
                meetings, attendees = found.get(sight.owner[0], (0, 0))
                found[sight.owner[0]] = meetings + 1, attendees + len(sight.users)
        return found

    def _tenant(self, slug: str) -> Iterator[Owner]:
        return (owner for owner in self.owners if owner[0] == slug)

    def _list(self, server: Server, sights: list[Sight], at: datetime, good_before: datetime | None) -> None:
        present = {meeting.internal_id: meeting for meeting in server.farm.meetings.values()}
        parents = {sight.internal_id: sight.owner for sight in sights}
        rooms = sorted(present.values(), key=lambda meeting: meeting.breakout is not None)
        for meeting in rooms:
            sight = self._sight(server, meeting, at)
            if meeting.breakout is None:
                sight.owner = parents[meeting.internal_id] = self._owner(meeting.meeting_id) or sight.owner
            else:
                sight.owner = parents.get(meeting.breakout.parent_internal_id) or sight.owner
            if sight.state == "open":
                sight.attend(at)
            sight.attended_until = at
            sight.state, sight.last_seen_at, sight.lost_at = "open", None, None
            users = frozenset(attendee.user_id for attendee in meeting.attendees)
            sight.joined += len(users - sight.users)
            sight.users = users
            sight.gauges = (
                meeting.listener_count,
                meeting.voice_count,
                meeting.video_count,
                meeting.moderator_count,
            )
        self._end((sight for sight in sights if sight.internal_id not in present), good_before)

    def _sight(self, server: Server, meeting: Meeting, at: datetime) -> Sight:
        key = server.farm.name, meeting.internal_id
        if key not in self.sights:
            created_at = EPOCH + timedelta(milliseconds=meeting.create_time) - server.clock_ahead
            parent = None if meeting.breakout is None else meeting.breakout.parent_internal_id
            client_id = meeting.meeting_id.split("-", 2)[-1] if parent is None else meeting.meeting_id
            self.sights[key] = Sight(*key, None, parent, created_at, at, client_id=client_id)
        return self.sights[key]

    def _owner(self, meeting_id: str) -> Owner | None:
        slug, sub_id, _ = meeting_id.split("-", 2)
        owner = slug, int(sub_id)
        return owner if owner in self.owners else None

    def _end(self, sights: Iterable[Sight], good_before: datetime | None) -> None:
        for sight in sights:
            last_seen_at = max(sight.first_seen_at, sight.last_seen_at or good_before or sight.first_seen_at)
            if sight.state == "open":
                sight.attend(last_seen_at)
            sight.state, sight.last_seen_at, sight.lost_at = "ended", last_seen_at, None
            if sight.owner is not None:
                lasted = (last_seen_at - sight.created_at) // timedelta(milliseconds=1)
                sight.counted = 1, sight.joined, max(sight.counted[2], lasted)


def _hide(sights: Iterable[Sight], at: datetime, good_before: datetime | None) -> None:
    for sight in sights:
        if sight.state == "open":
            sight.state, sight.lost_at = "lost", at
            sight.last_seen_at = max(sight.first_seen_at, good_before or sight.first_seen_at)
            sight.attend(sight.last_seen_at)


def _milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)
