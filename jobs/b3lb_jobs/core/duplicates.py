"""Nodes that are one server: two BBBNodes whose URLs are different spellings of one address."""

from __future__ import annotations

from collections.abc import Mapping

from b3lb.meetings.model import Listing


def same_servers(listings: Mapping[int, Listing]) -> list[tuple[int, int]]:
    """Return the pairs of nodes that list a meeting with one internal ID, by their IDs, each pair once.

    BBB forms the internal ID from the meeting ID and the millisecond of creation, so two servers hardly share one.
    """
    first: dict[str, int] = {}
    pairs: set[tuple[int, int]] = set()
    for node_id, listing in sorted(listings.items()):
        for meeting in listing.meetings:
            other = first.setdefault(meeting.internal_id, node_id)
            if other != node_id:
                pairs.add((other, node_id))
    return sorted(pairs)
