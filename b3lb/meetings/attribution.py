"""Whose a meeting is: the prefix of its ID on the node names the tenant and the API secret.

On a node a meeting's ID is ``<SLUG>-<NNN>-<client's ID>``. So the mapping can be rebuilt from getMeetings alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from b3lb.meetings.model import Attribution

# The client's part of an ID holds so many characters, which keeps the whole within the 256 that BBB takes.
CLIENT_ID_CHARACTERS = 240
MAXIMUM_SUB_ID = 999
# To be used with fullmatch: "$" would let a line feed at the end pass.
PREFIX = re.compile(r"([A-Z]{2,10})-([0-9]{3})-(.{1,240})", re.DOTALL)

_SLUG = re.compile(r"[A-Z]{2,10}")


class MeetingName(NamedTuple):
    """A meeting ID of a node, taken apart: the tenant's slug, the secret's sub-id and the ID that the client chose."""

    slug: str
    sub_id: int
    client_id: str


def split_meeting_id(meeting_id: str) -> MeetingName | None:
    """Take a node's meeting ID apart; None if it has no prefix, so that the meeting belongs to no tenant."""
    match = PREFIX.fullmatch(meeting_id)
    return MeetingName(match[1], int(match[2]), match[3]) if match else None


def node_meeting_id(slug: str, sub_id: int, client_id: str) -> str:
    """Return the ID that a client's meeting has on its node; ``split_meeting_id`` takes it apart again.

    Raises:
        ValueError: A part is not what ``split_meeting_id`` would find.
    """
    if not _SLUG.fullmatch(slug):
        raise ValueError("a slug has 2 to 10 letters A to Z")
    if not 0 <= sub_id <= MAXIMUM_SUB_ID:
        raise ValueError(f"a sub-id is a number from 0 to {MAXIMUM_SUB_ID}")
    if not 1 <= len(client_id) <= CLIENT_ID_CHARACTERS:
        raise ValueError(f"a client's meeting ID has 1 to {CLIENT_ID_CHARACTERS} characters")
    return f"{slug}-{sub_id:03}-{client_id}"


def attribute(meeting_id: str, attribution: Attribution) -> int | None:
    """Return the ID of the secret whose the meeting is; None without a prefix or if there is no such secret."""
    name = split_meeting_id(meeting_id)
    return attribution.get((name.slug, name.sub_id)) if name else None
