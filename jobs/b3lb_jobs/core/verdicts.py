"""What a round of polls says of every node's meetings: the bridge from a node's health to the life of its meetings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from b3lb.db.meetings import AbsentNode
from b3lb.db.node_states import NodePoll
from b3lb.health import NodeState
from b3lb.meetings.life import NodeVerdict, Verdict
from b3lb.meetings.model import Listing


def verdicts_of(
    polls: Iterable[NodePoll],
    absent: Iterable[AbsentNode],
    *,
    states: Mapping[int, NodeState],
    listings: Mapping[int, Listing],
    duplicates: Collection[int] = (),
) -> dict[int, NodeVerdict]:
    """Return the verdict on every node, by its ID.

    Args:
        polls: The nodes that can be polled, as they were before the round.
        absent: Those that cannot be and have meetings.
        states: The states that the round changed, for health comes first: a node that answers is not healthy at once,
            and the guard of its cluster may keep it Ready.
        listings: What the nodes that answered have.
        duplicates: The nodes that are the server of an older one: its meetings are that one's.
    """
    verdicts = {poll.node_id: _of_polled(poll, states.get(poll.node_id, poll.state), listings) for poll in polls}
    for node in absent:
        kind = Verdict.GONE if node.deleted else Verdict.UNHEALTHY
        lost_after = timedelta(seconds=node.lost_meetings_seconds)
        verdicts[node.node_id] = NodeVerdict(kind, None, node.seen_at, lost_after)
    verdicts.update(dict.fromkeys(duplicates, NodeVerdict(Verdict.KEPT)))
    return verdicts


def _of_polled(poll: NodePoll, state: NodeState | None, listings: Mapping[int, Listing]) -> NodeVerdict:
    lost_after = timedelta(seconds=poll.lost_meetings_seconds)
    listing = listings.get(poll.node_id)
    if state is None or state.revision != poll.revision:
        # Nothing was seen with this configuration, and what another one saw does not count.
        kind = Verdict.KEPT
    elif not state.ready:
        kind = Verdict.UNHEALTHY
    else:
        kind = Verdict.KEPT if listing is None else Verdict.LISTED
    listing = listing if kind is Verdict.LISTED else None
    return NodeVerdict(kind, listing, poll.seen_at, lost_after, _listed_at(poll))


def _listed_at(poll: NodePoll) -> datetime | None:
    """Return when the node's meetings were last compared with its listing, None if that is not certain.

    The last tick did so if it polled the node well and the node was Ready before. It did not where the time of the last
    good poll is not the tick's own: that poll was the operator's, or of before the database's clock was set back.
    """
    state = poll.state
    if state is None or state.revision != poll.revision or not state.ready or state.failures or poll.guard.holds:
        return None
    if state.duplicate_of is not None or poll.observed_at is None or poll.seen_at != poll.observed_at:
        return None
    return poll.observed_at if poll.observed_at > state.ready_changed_at else None
