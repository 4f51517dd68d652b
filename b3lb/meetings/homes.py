"""On which node a meeting is known, when several nodes are one server: a pure function.

A meeting is known once, on the oldest of those nodes, and moves with its row when that changes: so it is counted once,
with its whole duration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from b3lb.meetings.model import KnownMeeting


@dataclass(frozen=True, slots=True)
class Homes:
    """Where meetings belong now.

    ``meetings`` are all that stay known, each with the node that it is on now. ``moved``: ID of the row and the node
    that it goes to. ``dropped``: ID of the row and the node on which its meeting is known already.
    """

    meetings: tuple[KnownMeeting, ...]
    moved: Mapping[int, int]
    dropped: Mapping[int, int]


def find_homes(
    known: Iterable[KnownMeeting],
    *,
    oldest: Mapping[int, int],
    heirs: Mapping[int, int],
    listed: Mapping[int, AbstractSet[str]],
) -> Homes:
    """Return where the ``known`` meetings belong.

    Args:
        known: All meetings that have not ended.
        oldest: Nodes that are the server of an older one, and which that is.
        heirs: Nodes that may not be their server any more, and the node that is it now.
        listed: The internal IDs that the nodes of ``heirs``, the old and the new ones, list if they answered. A meeting
            stays where it is listed, and goes only to a node that lists it or, not having answered, may.
    """
    meetings = list(known)
    if not oldest and not heirs:
        return Homes(tuple(meetings), {}, {})
    homes = [_home(meeting, oldest, heirs, listed) for meeting in meetings]
    taken = {
        (home, meeting.internal_id) for meeting, home in zip(meetings, homes, strict=True) if home == meeting.node_id
    }
    kept: list[KnownMeeting] = []
    moved: dict[int, int] = {}
    dropped: dict[int, int] = {}
    for meeting, home in zip(meetings, homes, strict=True):
        if home == meeting.node_id:
            kept.append(meeting)
        elif (home, meeting.internal_id) in taken:
            dropped[meeting.id] = home
        else:
            taken.add((home, meeting.internal_id))
            moved[meeting.id] = home
            kept.append(dataclasses.replace(meeting, node_id=home))
    return Homes(tuple(kept), moved, dropped)


def _home(
    meeting: KnownMeeting, oldest: Mapping[int, int], heirs: Mapping[int, int], listed: Mapping[int, AbstractSet[str]]
) -> int:
    node_id = oldest.get(meeting.node_id, meeting.node_id)
    heir = heirs.get(node_id)
    if heir is None or meeting.internal_id in listed.get(node_id, ()):
        return node_id
    return heir if heir not in listed or meeting.internal_id in listed[heir] else node_id
