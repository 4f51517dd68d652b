"""What a simulated farm consists of: nodes, their meetings, the meetings' attendees."""

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final

from dev.farm.tenants import Secret

MAXIMUM_LOAD: Final = 10_000


class Role(StrEnum):
    """Roles as BBB prints them (``User.java`` and ``MeetingService.java`` of bbb-common-web)."""

    MODERATOR = "MODERATOR"
    VIEWER = "VIEWER"
    DIAL_IN = "DIAL-IN-USER"


@dataclass(slots=True)
class Attendee:
    """A participant of a meeting.

    ``muted`` and ``screen`` (shares the screen) are the farm's own truth: BBB does not print them.
    """

    user_id: str
    name: str
    role: Role
    presenter: bool = False
    listening_only: bool = False
    voice: bool = False
    video: bool = False
    muted: bool = False
    screen: bool = False
    custom_data: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class BreakoutInfo:
    """What makes a meeting a breakout room: its parent's internal ID, its number, whether users may choose it."""

    parent_internal_id: str
    sequence: int
    free_join: bool


@dataclass(slots=True)
class Meeting:
    """A meeting as a node lists it; times in milliseconds since the epoch, ``duration`` in minutes (0 = unlimited).

    ``create_time`` is by the node's clock, ``begun_at`` the same by the farm's. ``secret`` is the API secret by which a
    load balancer created the meeting, or its parent; ``ever_joined`` holds the user IDs of all who have been in it.
    ``xml`` is the rendered element; whoever changes what BBB prints sets it to None.
    """

    name: str
    meeting_id: str
    internal_id: str
    create_time: int
    voice_bridge: str
    attendee_password: str
    moderator_password: str
    duration: int = 0
    recording: bool = False
    max_users: int = 0
    typical_size: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    attendees: list[Attendee] = field(default_factory=list)
    has_user_joined: bool = False
    forcibly_ended: bool = False
    start_time: int = 0
    end_time: int = 0
    breakout: BreakoutInfo | None = None
    breakout_rooms: list[str] = field(default_factory=list)
    begun_at: int = 0
    secret: Secret | None = None
    ever_joined: set[str] = field(default_factory=set, repr=False)
    xml: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def running(self) -> bool:
        """Whether anybody is in the meeting; a meeting that exists need not run."""
        return bool(self.attendees)

    @property
    def listener_count(self) -> int:
        """Users who listen only."""
        return sum(attendee.listening_only for attendee in self.attendees)

    @property
    def voice_count(self) -> int:
        """Users with a microphone."""
        return sum(attendee.voice for attendee in self.attendees)

    @property
    def video_count(self) -> int:
        """Users with a camera."""
        return sum(attendee.video for attendee in self.attendees)

    @property
    def moderator_count(self) -> int:
        """Moderators; they are among the participants."""
        return sum(attendee.role is Role.MODERATOR for attendee in self.attendees)


@dataclass(slots=True)
class Node:
    """A BBB server: its meetings by external ID in the order of their creation, and its own source of randomness.

    ``clock_offset`` is how many seconds its clock is ahead of the farm's.
    """

    name: str
    random: Random = field(repr=False)
    base_load: int
    meetings: dict[str, Meeting] = field(default_factory=dict)
    pinned_load: int | None = None
    clock_offset: float = 0.0

    @property
    def attendee_count(self) -> int:
        """The sum of all participants; users of breakout rooms have left their parent, so each counts once."""
        return sum(len(meeting.attendees) for meeting in self.meetings.values())

    @property
    def load(self) -> int:
        """CPU load, 0 to 10000 (100 %): the pinned value, or one that follows users and cameras."""
        if self.pinned_load is not None:
            return self.pinned_load
        videos = sum(meeting.video_count for meeting in self.meetings.values())
        return min(MAXIMUM_LOAD, self.base_load + 10 * self.attendee_count + 30 * videos)

    @property
    def breakout_count(self) -> int:
        """Meetings that are breakout rooms."""
        return sum(meeting.breakout is not None for meeting in self.meetings.values())
