"""What a round may conclude from the listing before: only if the last tick itself compared it."""

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest

from b3lb.db.node_states import NodePoll
from b3lb.health import GuardState, NodeState
from b3lb.meetings.model import Listing
from b3lb_jobs.core.verdicts import verdicts_of
from tests.unit.poll_rounds import DOWN, READY, SEEN_AT, poll

SINCE_THE_LAST_POLL = dataclasses.replace(READY, ready_changed_at=SEEN_AT)
SECOND = timedelta(seconds=1)


def listed_at(node: NodePoll) -> datetime | None:
    """Return what the next round is told of when the node's meetings were listed."""
    return verdicts_of([node], (), states={1: READY}, listings={1: Listing(())})[1].listed_at


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (READY, SEEN_AT),
        (dataclasses.replace(READY, failures=1), None),
        (SINCE_THE_LAST_POLL, None),
        (dataclasses.replace(READY, ready_changed_at=SEEN_AT + SECOND), None),
        (dataclasses.replace(READY, revision=7), None),
        (DOWN, None),
        (None, None),
    ],
    ids=["ready", "suspect", "ready by the last poll", "clock set back", "changed", "not ready", "new"],
)
def test_when_a_nodes_meetings_were_listed_last(state: NodeState | None, expected: datetime | None) -> None:
    assert listed_at(poll(1, state)) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"observed_at": None},
        {"guard": GuardState(since=SEEN_AT, failed=3, polled=3)},
        {"seen_at": SEEN_AT + SECOND},
    ],
    ids=["the last tick could not poll it", "its state is kept by the guard", "the operator polled it last"],
)
def test_a_node_that_only_seems_to_be_polled_says_nothing_of_when_its_meetings_began(changes: dict[str, Any]) -> None:
    """Its meetings may run for days: its API secret could not be read, or it was Disabled and is active again."""
    assert listed_at(poll(1, **changes)) is None
