"""Nodes that are one server: BBBNodes whose URLs are different spellings of one address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from b3lb.db.node_states import NodePoll
from b3lb.meetings.model import Listing


def duplicates_of(polls: Iterable[NodePoll], listings: Mapping[int, Listing]) -> dict[int, NodePoll]:
    """Return the nodes that are the server of an older one, by their IDs, with the oldest of that server.

    Two nodes that list a meeting with one internal ID in one round are one server: BBB forms it from the meeting ID and
    the millisecond of creation. What an earlier round found so holds, for an empty server proves nothing, until one of
    the two is changed or cannot be polled any more, or both list meetings and none of them together.

    Args:
        polls: The nodes that can be polled, as they were before the round.
        listings: What the nodes that answered have.
    """
    nodes = {poll.node_id: poll for poll in polls}
    pairs = {
        (older, node_id)
        for node_id, older in former_duplicates(nodes.values()).items()
        if older in nodes
        and nodes[older].revision == _noted_revision(nodes[node_id])
        and not (_has_meetings(listings.get(older)) and _has_meetings(listings.get(node_id)))
    }
    oldest: dict[int, int] = {}
    for pair in sorted(pairs | _sharing(listings)):
        first, second = sorted(_oldest(node_id, oldest) for node_id in pair)
        if first != second:
            oldest[second] = first
    return {node_id: nodes[_oldest(node_id, oldest)] for node_id in sorted(oldest)}


def former_duplicates(polls: Iterable[NodePoll]) -> dict[int, int]:
    """Return which node is the server of which other, by their IDs, as the last round of polls left it."""
    return {
        poll.node_id: poll.state.duplicate_of
        for poll in polls
        if poll.state is not None and poll.state.revision == poll.revision and poll.state.duplicate_of is not None
    }


def _noted_revision(poll: NodePoll) -> int | None:
    return None if poll.state is None else poll.state.duplicate_of_revision


def _has_meetings(listing: Listing | None) -> bool:
    return listing is not None and bool(listing.meetings)


def _sharing(listings: Mapping[int, Listing]) -> set[tuple[int, int]]:
    """Return the pairs of nodes that list a meeting with one internal ID: the oldest that does, and each other."""
    first: dict[str, int] = {}
    pairs: set[tuple[int, int]] = set()
    for node_id, listing in sorted(listings.items()):
        for meeting in listing.meetings:
            other = first.setdefault(meeting.internal_id, node_id)
            if other != node_id:
                pairs.add((other, node_id))
    return pairs


def _oldest(node_id: int, oldest: Mapping[int, int]) -> int:
    while node_id in oldest:
        node_id = oldest[node_id]
    return node_id
