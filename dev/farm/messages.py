"""What the control port and its client say to each other, and what ``farm.json`` holds. JSON keys are in camel case."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from dev.farm.checksum import ALGORITHMS
from dev.farm.model import MAXIMUM_LOAD

READY_FILE: Final = "farm.json"


class Behaviour(StrEnum):
    """How a node answers.

    Those whose name begins with ``load-`` concern the load page only; ``wrong-secret``, ``invalid-xml`` and
    ``api-error`` concern the API only; all others concern both.
    """

    OK = "ok"
    SLOW = "slow"
    HANG = "hang"
    REFUSED = "refused"
    HTTP_500 = "http-500"
    WRONG_SECRET = "wrong-secret"
    INVALID_XML = "invalid-xml"
    TOO_LARGE = "too-large"
    REDIRECT = "redirect"
    DRIP = "drip"
    HTML = "html"
    EMPTY = "empty"
    API_ERROR = "api-error"
    LOAD_404 = "load-404"
    LOAD_TEXT = "load-text"
    LOAD_NEGATIVE = "load-negative"
    LOAD_TOO_HIGH = "load-too-high"


class _Message(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid", frozen=True
    )


class FarmNode(_Message):
    """Where a node is, and its shared secret at the start."""

    name: str
    api_url: str
    load_url: str
    secret: str = Field(repr=False)


class FarmFile(_Message):
    """The content of ``farm.json``."""

    control: str
    pid: int
    seed: int
    nodes: list[FarmNode]


class BehaviourChange(_Message):
    """A behaviour; ``seconds`` is the delay of ``slow`` and the time between two bytes of ``drip``."""

    behaviour: Behaviour
    seconds: float = Field(default=1.0, gt=0, le=3600)


class MeetingOrder(_Message):
    """A meeting to create; what is not given is invented."""

    meeting_id: str | None = Field(default=None, alias="meetingID", min_length=2, max_length=256, pattern="^[^,]+$")
    name: str | None = Field(default=None, min_length=1, max_length=256)
    attendees: int | None = Field(default=None, ge=0, le=100_000)


class UsersOrder(_Message):
    """Users who join or leave: so many (one if nothing is said), and those with the given IDs."""

    count: int | None = Field(default=None, ge=0, le=100_000)
    user_ids: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]] = Field(
        default=[], alias="userIDs", max_length=10_000
    )

    @property
    def number(self) -> int:
        """How many beside those whose IDs are given."""
        return int(not self.user_ids) if self.count is None else self.count


class RoomsOrder(_Message):
    """Breakout rooms to open."""

    rooms: int = Field(default=2, ge=1, le=16)


class ClockOffsetChange(_Message):
    """How many seconds a node's clock is ahead of the farm's; behind it if negative."""

    seconds: float = Field(ge=-1_000_000, le=1_000_000)


class LoadChange(_Message):
    """A load that stays (0 to 10000), or None for one that follows the meetings."""

    load: int | None = Field(ge=0, le=MAXIMUM_LOAD)


class SecretChange(_Message):
    """A new shared secret; an empty one switches the node's checks off."""

    secret: str = Field(max_length=256, repr=False)


class AlgorithmsChange(_Message):
    """The checksum algorithms that a node accepts."""

    algorithms: list[Literal["sha1", "sha256", "sha384", "sha512"]] = Field(min_length=1)


class StepOrder(_Message):
    """So many steps at once, on all nodes or on the first ones only."""

    count: int = Field(default=1, ge=1, le=10_000)
    nodes: int | None = Field(default=None, ge=1)


class Clock(_Message):
    """Steps done since the start, and the simulated time in milliseconds since the epoch."""

    steps: int
    now: int
    frozen: bool


class MeetingTruth(_Message):
    """A meeting as the farm knows it.

    ``create_time`` is by the node's clock, ``begun_at`` by the farm's. ``secret`` (like UNIA-001) is the one by which a
    load balancer created the meeting or its parent, ``client_id`` the ID that its client knows.
    """

    meeting_id: str = Field(alias="meetingID")
    internal_meeting_id: str = Field(alias="internalMeetingID")
    name: str
    create_time: int
    begun_at: int
    secret: str | None
    client_id: str = Field(alias="clientID")
    user_ids: list[str] = Field(alias="userIDs")
    running: bool
    forcibly_ended: bool
    is_breakout: bool
    parent_meeting_id: str | None = Field(alias="parentMeetingID")
    breakout_rooms: list[str]
    attendees: int
    moderators: int
    listeners: int
    voices: int
    videos: int
    muted: int
    screens: int


class NodeTruth(_Message):
    """A node as the farm knows it.

    ``meetings`` is the number of meetings that getMeetings lists, ``breakouts`` how many of them are breakout rooms,
    ``attendees`` the sum of their participants, which counts users of breakout rooms once. ``clock_offset`` is in
    seconds.
    """

    name: str
    api_url: str
    load_url: str
    behaviour: Behaviour
    seconds: float
    algorithms: list[str]
    clock_offset: float
    load: int
    meetings: int
    breakouts: int
    attendees: int


class NodeDetail(NodeTruth):
    """A node with its meetings in the order in which getMeetings lists them."""

    meeting_list: list[MeetingTruth]


class PlacedMeeting(MeetingTruth):
    """A meeting and the name of its node."""

    node: str


class SecretTruth(_Message):
    """What the farm knows of a secret's meetings, or of all its tenant's (then ``sub_id`` is None).

    Breakout rooms are meetings of their parent's secret. ``users_joined`` counts, for all meetings that ever were, the
    different user IDs that have been in each; ``meetings_ended`` the meetings that are no longer listed.
    """

    slug: str
    sub_id: int | None
    meetings: int
    attendees: int
    listeners: int
    voices: int
    videos: int
    moderators: int
    users_joined: int
    meetings_created: int
    meetings_ended: int


class SecretDetail(SecretTruth):
    """A secret with its meetings in the order of their creation."""

    meeting_list: list[PlacedMeeting]


class NodeCounts(_Message):
    """Requests by kind (``getMeetings``, ``getMeetingInfo``, ``isMeetingRunning``, ``index``, ``load``, ``other``)."""

    requests: dict[str, int]
    in_flight: int
    max_in_flight: int

    @property
    def total(self) -> int:
        """Requests of all kinds."""
        return sum(self.requests.values())


class FarmCounts(NodeCounts):
    """The counts of all nodes together, with each node's own."""

    nodes: dict[str, NodeCounts]


DEFAULT_ALGORITHMS: Final = frozenset(ALGORITHMS)
