"""What is known of meetings: as a node lists them, as the database holds them, and what is to be written.

A meeting is one only on its node: its key is (node, internal meeting ID). BBB forms the internal meeting ID from the
meeting ID and the time of creation, so a room that is created again is another meeting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

DIGEST_BYTES = 16
USER_HASH_BYTES = 8

Attribution: TypeAlias = Mapping[tuple[str, int], int]
"""Slug and sub-id → ID of the secret, for all secrets of a namespace whose meetings are theirs, disabled ones too."""


class MeetingState(StrEnum):
    """What is known of a meeting: ``lost`` is hidden, for its node is not healthy, and may come back."""

    OPEN = "open"
    LOST = "lost"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class MeetingDetails:
    """All that is kept of a meeting's element.

    ``meeting_id`` is the node's, with prefix. ``create_time`` is by the node's clock, in milliseconds since the epoch,
    0 if it says none. ``parent_id`` is what a breakout room says of its parent, None for other meetings. ``element`` is
    what the front end serves, compressed by zlib; ``user_hashes`` holds the sorted 8-byte hashes of the user IDs.
    """

    meeting_id: str
    create_time: int
    parent_id: str | None
    listeners: int
    voices: int
    videos: int
    moderators: int
    origin: str
    origin_server: str
    element: bytes = field(repr=False)
    user_hashes: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SeenMeeting:
    """A meeting in a node's answer; ``details`` is None if its element has the digest that was known before."""

    internal_id: str
    digest: bytes
    attendees: int
    details: MeetingDetails | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The meetings of one good answer, each internal ID once.

    ``clock_offset`` is how far the node's clock is ahead, by the answer's Date; within its resolution it is zero.
    """

    meetings: tuple[SeenMeeting, ...]
    clock_offset: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class KnownMeeting:
    """A meeting in the database that has not ended.

    ``last_seen_at`` is set while the meeting is lost. ``has_element`` says that its list element is stored.
    """

    id: int
    node_id: int
    internal_id: str
    meeting_id: str
    secret_id: int | None
    parent_internal_id: str | None
    state: MeetingState
    first_seen_at: datetime
    last_seen_at: datetime | None
    lost_at: datetime | None
    attendees: int
    digest: bytes
    has_element: bool


@dataclass(frozen=True, slots=True)
class MeetingWrite:
    """A meeting to insert or to update, by (node, internal ID); it is open then, whatever it was before.

    ``created_at`` and ``first_seen_at`` stay those of the first time. A meeting keeps its secret if ``secret_id`` is
    None; without one, ``element`` is not stored.
    """

    node_id: int
    internal_id: str
    meeting_id: str
    secret_id: int | None
    parent_internal_id: str | None
    created_at: datetime
    first_seen_at: datetime
    attendees: int
    listeners: int
    voices: int
    videos: int
    moderators: int
    origin: str
    origin_server: str
    digest: bytes
    element: bytes | None = field(repr=False)
    user_hashes: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MeetingChanges:
    """What one round of polls does to meetings; all IDs are those of rows.

    ``writes``: new and changed ones. ``found``: lost ones that are open again as they were. ``lost`` and ``ended``: ID
    and when the meeting was last seen. ``moved`` and ``dropped`` are done before all else: the node that a row goes to,
    and the one on which another row knows its meeting.
    """

    writes: tuple[MeetingWrite, ...] = ()
    found: tuple[int, ...] = ()
    lost: Mapping[int, datetime] = field(default_factory=dict)
    ended: Mapping[int, datetime] = field(default_factory=dict)
    moved: Mapping[int, int] = field(default_factory=dict)
    dropped: Mapping[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.writes or self.found or self.lost or self.ended or self.moved or self.dropped)


@dataclass(frozen=True, slots=True)
class SecretTotals:
    """What a secret's meetings add up to: its gauges."""

    meetings: int = 0
    attendees: int = 0
    listeners: int = 0
    voices: int = 0
    videos: int = 0
    moderators: int = 0
