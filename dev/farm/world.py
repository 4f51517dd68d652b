"""The life of a farm as a pure function of its seed: no clock, no input, no output, the same life each time."""

from dataclasses import replace
from hashlib import sha1
from random import Random
from typing import Final

from dev.farm import events, names
from dev.farm.chance import chance
from dev.farm.model import Attendee, BreakoutInfo, Meeting, Node

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


class World:
    """All nodes of a farm and their meetings.

    Args:
        seed: what everything follows from.
        nodes: number of nodes, named ``node-001``, ``node-002`` and so on.
        meetings: meetings listed by each node at the start; later the number a node strives for.
        attendees: mean number of attendees of a meeting; 0 gives meetings that nobody has joined.
        step_seconds: seconds of simulated time that a step takes.
        start_time: simulated time at the start, milliseconds since the epoch.
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
    ) -> None:
        self.now = start_time
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

    def step(self) -> None:
        """Lets ``step_seconds`` pass on all nodes: meetings begin, change and end."""
        self.now += self._step_milliseconds
        self.steps += 1
        for node in self.nodes.values():
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
        external_id = names.meeting_id(random) if meeting_id is None else meeting_id
        if external_id in node.meetings:
            raise MeetingExistsError(external_id)
        # Two meetings never begin in the same millisecond, so a meeting created anew has another internal ID.
        self.now += 1
        meeting = self._new_meeting(random, external_id, name=name or names.meeting_name(random))
        meeting.metadata = names.metadata(random, external_id)
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
        meeting = node.meetings.get(meeting_id)
        if meeting is None:
            raise UnknownMeetingError(meeting_id)
        if meeting.breakout is not None:
            self._close_room(node, meeting)
            return
        for room in meeting.breakout_rooms:
            del node.meetings[room]
        del node.meetings[meeting_id]

    def _new_meeting(self, random: Random, external_id: str, *, name: str) -> Meeting:
        # SHA-1 is what BBB forms its internal meeting IDs with.
        digest = sha1(external_id.encode(), usedforsecurity=False).hexdigest()
        return Meeting(
            name=name,
            meeting_id=external_id,
            internal_id=f"{digest}-{self.now}",
            create_time=self.now,
            start_time=self.now + random.randrange(10, 90),
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
            self._step_running(random, meeting)

    def _step_empty(self, node: Node, meeting: Meeting) -> None:
        random = node.random
        if not meeting.has_user_joined:
            if self._attendees and chance(random, _FIRST_JOIN):
                events.join(random, meeting)
        elif chance(random, _END_OF_EMPTY):
            self._force_end(node, meeting)
        elif chance(random, _REJOIN_EMPTY):
            events.join(random, meeting)

    def _step_running(self, random: Random, meeting: Meeting) -> None:
        if not chance(random, _SOMEBODY_COMES_OR_GOES_THEN):
            events.media_event(random, meeting)
        elif random.randrange(2 * meeting.typical_size + 1) >= len(meeting.attendees):
            missing = max(1, meeting.typical_size - len(meeting.attendees))
            events.join(random, meeting, count=random.randint(1, missing))
        else:
            events.leave(random, meeting, now=self.now)

    def _force_end(self, node: Node, meeting: Meeting) -> None:
        # The end is asynchronous: the node still lists the meeting for one step.
        for room in meeting.breakout_rooms:
            del node.meetings[room]
        meeting.breakout_rooms.clear()
        meeting.attendees.clear()
        meeting.forcibly_ended = True
        meeting.end_time = self.now
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
            room = self._new_meeting(random, f"{digest}-{self.now}", name=f"{parent.name} (Room {sequence})")
            room.breakout = BreakoutInfo(parent.internal_id, sequence, free_join)
            room.metadata = dict(parent.metadata)
            room.duration = 15
            room.attendees = [
                replace(mover, user_id=f"{mover.user_id}-{sequence}", presenter=False, screen=False)
                for mover in (self._take_last(parent) for _ in range(share))
            ]
            room.has_user_joined = bool(room.attendees)
            node.meetings[room.meeting_id] = room
            parent.breakout_rooms.append(room.meeting_id)
        parent.xml = None

    @staticmethod
    def _take_last(meeting: Meeting) -> Attendee:
        attendee = meeting.attendees.pop()
        events.hand_over(meeting, attendee)
        return attendee

    @staticmethod
    def _close_room(node: Node, room: Meeting) -> None:
        for parent in node.meetings.values():
            if room.meeting_id in parent.breakout_rooms:
                parent.breakout_rooms.remove(room.meeting_id)
                parent.attendees += [
                    replace(user, user_id=user.user_id.rsplit("-", 1)[0], presenter=not parent.attendees and not index)
                    for index, user in enumerate(room.attendees)
                ]
                parent.end_time = 0
                parent.xml = None
        del node.meetings[room.meeting_id]
