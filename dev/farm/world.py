"""The life of a farm as a pure function of its seed: no clock, no input, no output, the same life each time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha1
from itertools import islice
from random import Random
from typing import Final

from dev.farm import events, names
from dev.farm.chance import chance
from dev.farm.model import Attendee, BreakoutInfo, Meeting, Node
from dev.farm.tenants import Book, Secret, own_metadata, prefixed_id, split, spoil_origin

# 2026-01-01T00:00:00Z, so that two farms with the same seed print the same times.
START_TIME: Final = 1_767_225_600_000

# Probabilities per step, unless the name says otherwise.
_BEGIN_PER_MISSING_MEETING: Final = 0.3
_FIRST_JOIN: Final = 0.3
_ANYTHING_HAPPENS: Final = 0.25
_SOMEBODY_COMES_OR_GOES_THEN: Final = 0.5
_END: Final = 1 / 80
_END_OF_EMPTY: Final = 0.3
_REJOIN_EMPTY: Final = 0.1
_OPEN_BREAKOUTS: Final = 1 / 100
_CLOSE_BREAKOUTS: Final = 1 / 20
_SMALLEST_WITH_BREAKOUTS: Final = 4

# A farm's first meetings: in eight of them one has two breakout rooms, in ten one still waits for its first user.
_MEETINGS_PER_BREAKOUT_GROUP: Final = 8
_ROOMS_OF_FIRST_GROUPS: Final = 2
_MEETINGS_PER_EMPTY_ONE: Final = 10


class MeetingExistsError(Exception):
    """A meeting with this ID is on the node already."""


class UnknownMeetingError(LookupError):
    """No meeting with this ID is on the node."""


class MeetingEndedError(Exception):
    """The meeting has been ended, though it is still listed: nobody can join."""


class UserExistsError(Exception):
    """A user is to join a meeting who is in it."""


class UnknownUserError(LookupError):
    """Nobody with this user ID is in the meeting."""


class World:
    """All nodes of a farm and their meetings.

    Args:
        seed: what everything follows from.
        nodes: number of nodes, named ``node-001``, ``node-002`` and so on.
        meetings: meetings listed by each node at the start; later the number a node strives for.
        attendees: mean number of attendees of a meeting; 0 gives meetings that nobody has joined.
        step_seconds: seconds of simulated time that a step takes.
        start_time: simulated time at the start, milliseconds since the epoch.
        tenants: (slug, sub-id) of the API secrets by which a load balancer creates meetings; without any, clients
            create all meetings directly.

    ``books`` holds what is over, for each secret that ever had a meeting.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        nodes: int = 5,
        meetings: int = 20,
        attendees: int = 15,
        step_seconds: float = 5,
        start_time: int = START_TIME,
        tenants: Sequence[tuple[str, int]] = (),
    ) -> None:
        self.now = start_time
        self.secrets = [Secret(*secret) for secret in tenants]
        self.books: dict[Secret, Book] = {secret: Book() for secret in self.secrets}
        self.steps = 0
        self._meetings = meetings
        self._attendees = attendees
        self._step_milliseconds = round(step_seconds * 1000)
        self.nodes: dict[str, Node] = {}
        for number in range(1, nodes + 1):
            random = Random(f"{seed}/{number}")
            node = Node(name=f"node-{number:03d}", random=random, base_load=random.randrange(100, 1500))
            self._populate(node)
            self.nodes[node.name] = node

    def step(self, *, nodes: int | None = None) -> None:
        """Lets ``step_seconds`` pass: meetings begin, change and end, on the first ``nodes`` only or on all."""
        self.now += self._step_milliseconds
        self.steps += 1
        for node in islice(self.nodes.values(), nodes):
            for meeting in list(node.meetings.values()):
                # A meeting may have gone with its parent within this very step.
                if meeting.meeting_id in node.meetings:
                    self._step_meeting(node, meeting)
            for _ in range(self._meetings - len(node.meetings)):
                if chance(node.random, _BEGIN_PER_MISSING_MEETING):
                    self.begin(node, attendees=0)

    def begin(
        self, node: Node, *, meeting_id: str | None = None, name: str | None = None, attendees: int | None = None
    ) -> Meeting:
        """Creates a meeting on a node; what is not given is invented.

        Raises:
            MeetingExistsError: if the node has a meeting with this ID.
        """
        random = node.random
        external_id = self._invented_id(random) if meeting_id is None else meeting_id
        if external_id in node.meetings:
            raise MeetingExistsError(external_id)
        # Two meetings never begin in the same millisecond, so a meeting created anew has another internal ID.
        self.now += 1
        secret, client_id = split(external_id)
        meeting = self._new_meeting(node, external_id, secret, name=name or names.meeting_name(random))
        meeting.metadata = names.metadata(random, client_id)
        if self.secrets:
            spoil_origin(random, meeting.metadata)
        if secret is not None:
            meeting.metadata |= own_metadata(random, secret)
        meeting.duration = random.choice((0, 0, 0, 60, 90))
        meeting.recording = chance(random, 0.2)
        meeting.max_users = random.choice((0, 0, 0, 50, 250))
        meeting.typical_size = self._size(random)
        node.meetings[external_id] = meeting
        events.join(random, meeting, count=self._size(random) if attendees is None else attendees)
        return meeting

    def end(self, node: Node, meeting_id: str) -> None:
        """Removes a meeting and its breakout rooms at once; users of a removed breakout room go back to the parent.

        Raises:
            UnknownMeetingError: if the node has no such meeting.
        """
        meeting = self._meeting(node, meeting_id)
        if meeting.breakout is not None:
            self._close_room(node, meeting)
            return
        for room in meeting.breakout_rooms:
            self._remove(node, room)
        self._remove(node, meeting_id)

    def end_all(self, node: Node) -> None:
        """Removes all meetings of a node at once."""
        for meeting_id in list(node.meetings):
            self._remove(node, meeting_id)

    def join(self, node: Node, meeting_id: str, *, count: int = 1, user_ids: Iterable[str] = ()) -> Meeting:
        """So many new users join a meeting, and those with the given IDs.

        Raises:
            UnknownMeetingError: if the node has no such meeting.
            MeetingEndedError: if it has been ended.
            UserExistsError: if one of the users is in it already, or given twice.
        """
        meeting = self._meeting(node, meeting_id)
        if meeting.forcibly_ended:
            raise MeetingEndedError(meeting_id)
        known = {attendee.user_id for attendee in meeting.attendees}
        users = list(user_ids)
        if len(known.union(users)) < len(known) + len(users):
            raise UserExistsError(meeting_id)
        for user_id in users:
            events.join(node.random, meeting, user_id=user_id)
        events.join(node.random, meeting, count=count)
        return meeting

    def leave(self, node: Node, meeting_id: str, *, count: int = 1, user_ids: Iterable[str] = ()) -> Meeting:
        """So many users leave a meeting, or all if there are fewer, and those with the given IDs.

        Raises:
            UnknownMeetingError: if the node has no such meeting.
            UnknownUserError: if one of the users is not in it; then nobody leaves.
        """
        meeting = self._meeting(node, meeting_id)
        users = set(user_ids)
        for user_id in users - {attendee.user_id for attendee in meeting.attendees}:
            raise UnknownUserError(user_id)
        for user_id in users:
            place = [attendee.user_id for attendee in meeting.attendees].index(user_id)
            events.leave(node.random, meeting, now=self._time(node), place=place)
        for _ in range(min(count, len(meeting.attendees))):
            events.leave(node.random, meeting, now=self._time(node))
        return meeting

    def open_breakouts(self, node: Node, meeting_id: str, *, rooms: int) -> Meeting:
        """Opens breakout rooms and moves an equal share of the users into each.

        Raises:
            UnknownMeetingError: if the node has no such meeting.
            MeetingExistsError: if it is or has breakout rooms.
            MeetingEndedError: if it has been ended.
        """
        meeting = self._meeting(node, meeting_id)
        if meeting.forcibly_ended:
            raise MeetingEndedError(meeting_id)
        if meeting.breakout is not None or meeting.breakout_rooms:
            raise MeetingExistsError(f"{meeting_id} with breakout rooms")
        self._open_breakouts(node, meeting, rooms=rooms)
        return meeting

    def meetings_of(self, *secrets: Secret) -> Iterator[tuple[Node, Meeting]]:
        """All meetings of some secrets, breakout rooms among them, node by node."""
        for node in self.nodes.values():
            for meeting in node.meetings.values():
                if meeting.secret in secrets:
                    yield node, meeting

    def _meeting(self, node: Node, meeting_id: str) -> Meeting:
        try:
            return node.meetings[meeting_id]
        except KeyError:
            raise UnknownMeetingError(meeting_id) from None

    def _time(self, node: Node) -> int:
        return self.now + round(node.clock_offset * 1000)

    def _remove(self, node: Node, meeting_id: str) -> None:
        meeting = node.meetings.pop(meeting_id)
        if meeting.secret is not None:
            book = self.books[meeting.secret]
            book.ended += 1
            book.users_of_ended += len(meeting.ever_joined)

    def _invented_id(self, random: Random) -> str:
        return prefixed_id(random, self.secrets) if self.secrets else names.meeting_id(random)

    def _new_meeting(self, node: Node, external_id: str, secret: Secret | None, *, name: str) -> Meeting:
        random = node.random
        create_time = self._time(node)
        if secret is not None:
            self.books.setdefault(secret, Book()).created += 1
        # SHA-1 is what BBB forms its internal meeting IDs with.
        digest = sha1(external_id.encode(), usedforsecurity=False).hexdigest()
        return Meeting(
            name=name,
            meeting_id=external_id,
            internal_id=f"{digest}-{create_time}",
            create_time=create_time,
            begun_at=self.now,
            secret=secret,
            start_time=create_time + random.randrange(10, 90),
            voice_bridge=str(random.randrange(10_000, 100_000)),
            attendee_password=names.password(random),
            moderator_password=names.password(random),
        )

    def _size(self, random: Random) -> int:
        return random.randint(1, 2 * self._attendees - 1) if self._attendees else 0

    def _populate(self, node: Node) -> None:
        groups = self._meetings // _MEETINGS_PER_BREAKOUT_GROUP
        empty = self._meetings // _MEETINGS_PER_EMPTY_ONE
        for number in range(self._meetings - groups * _ROOMS_OF_FIRST_GROUPS):
            if number < groups:
                parent = self.begin(node, attendees=3 * self._attendees)
                self._open_breakouts(node, parent, rooms=_ROOMS_OF_FIRST_GROUPS)
                # Nobody can have seen who was there before the beginning.
                parent.ever_joined = {user.user_id for user in parent.attendees}
            elif number < groups + empty:
                self.begin(node, attendees=0)
            else:
                self.begin(node)

    def _step_meeting(self, node: Node, meeting: Meeting) -> None:
        random = node.random
        if meeting.forcibly_ended:
            self.end(node, meeting.meeting_id)
        elif meeting.breakout is not None:
            if chance(random, _CLOSE_BREAKOUTS):
                self._close_room(node, meeting)
            elif meeting.attendees and chance(random, _ANYTHING_HAPPENS):
                events.media_event(random, meeting)
        elif not meeting.attendees and not meeting.breakout_rooms:
            self._step_empty(node, meeting)
        elif chance(random, _END):
            self._force_end(node, meeting)
        elif self._may_open_breakouts(meeting) and chance(random, _OPEN_BREAKOUTS):
            self._open_breakouts(node, meeting, rooms=random.randint(2, 3))
        elif meeting.attendees and chance(random, _ANYTHING_HAPPENS):
            self._step_running(node, meeting)

    def _step_empty(self, node: Node, meeting: Meeting) -> None:
        random = node.random
        if not meeting.has_user_joined:
            if self._attendees and chance(random, _FIRST_JOIN):
                events.join(random, meeting)
        elif chance(random, _END_OF_EMPTY):
            self._force_end(node, meeting)
        elif chance(random, _REJOIN_EMPTY):
            events.join(random, meeting)

    def _step_running(self, node: Node, meeting: Meeting) -> None:
        random = node.random
        if not chance(random, _SOMEBODY_COMES_OR_GOES_THEN):
            events.media_event(random, meeting)
        elif random.randrange(2 * meeting.typical_size + 1) >= len(meeting.attendees):
            missing = max(1, meeting.typical_size - len(meeting.attendees))
            events.join(random, meeting, count=random.randint(1, missing))
        else:
            events.leave(node.random, meeting, now=self._time(node))

    def _force_end(self, node: Node, meeting: Meeting) -> None:
        # The end is asynchronous: the node still lists the meeting for one step.
        for room in meeting.breakout_rooms:
            self._remove(node, room)
        meeting.breakout_rooms.clear()
        meeting.attendees.clear()
        meeting.forcibly_ended = True
        meeting.end_time = self._time(node)
        meeting.xml = None

    @staticmethod
    def _may_open_breakouts(meeting: Meeting) -> bool:
        return not meeting.breakout_rooms and len(meeting.attendees) >= _SMALLEST_WITH_BREAKOUTS

    def _open_breakouts(self, node: Node, parent: Meeting, *, rooms: int) -> None:
        random = node.random
        free_join = chance(random, 0.5)
        share = len(parent.attendees) // (rooms + 1)
        for sequence in range(1, rooms + 1):
            self.now += 1
            digest = sha1(f"{parent.internal_id}-{sequence}".encode(), usedforsecurity=False).hexdigest()
            room_id, name = f"{digest}-{self.now}", f"{parent.name} (Room {sequence})"
            # BBB forms the room's ID from its parent's internal one, so it has no prefix.
            room = self._new_meeting(node, room_id, parent.secret, name=name)
            room.breakout = BreakoutInfo(parent.internal_id, sequence, free_join)
            room.metadata = dict(parent.metadata)
            room.duration = 15
            room.attendees = [
                replace(mover, user_id=f"{mover.user_id}-{sequence}", presenter=False, screen=False)
                for mover in (self._take_last(parent) for _ in range(share))
            ]
            room.ever_joined = {user.user_id for user in room.attendees}
            room.has_user_joined = bool(room.attendees)
            node.meetings[room.meeting_id] = room
            parent.breakout_rooms.append(room.meeting_id)
        parent.xml = None

    @staticmethod
    def _take_last(meeting: Meeting) -> Attendee:
        attendee = meeting.attendees.pop()
        events.hand_over(meeting, attendee)
        return attendee

    def _close_room(self, node: Node, room: Meeting) -> None:
        for parent in node.meetings.values():
            if room.meeting_id in parent.breakout_rooms:
                parent.breakout_rooms.remove(room.meeting_id)
                present = {user.user_id for user in parent.attendees}
                homecomers = [replace(user, user_id=user.user_id.rsplit("-", 1)[0]) for user in room.attendees]
                parent.attendees += [
                    replace(user, presenter=not present and not index)
                    for index, user in enumerate(homecomers)
                    if user.user_id not in present
                ]
                parent.ever_joined.update(user.user_id for user in homecomers)
                parent.end_time = 0
                parent.xml = None
        self._remove(node, room.meeting_id)
