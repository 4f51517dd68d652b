"""When a deleted node that is not polled may go: only on what is known, never on what a failed poll left."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.health import HealthPolicy, LoadReport, NodeState, Observation, Reason, next_state
from b3lb.resources.conditions import format_time
from b3lb_operator.kinds import Manifest
from b3lb_operator.reconcilers.node import FINALIZER, release_reason
from tests.unit.operator_fakes import NOW, node_manifest, node_row, node_state, view_of

DELETED_AT = NOW - timedelta(seconds=60)
EMPTY = "not polled, and the last poll found no meetings"
NOT_POLLED: list[dict[str, Any]] = [{"blocked_reason": "SecretNotFound"}, {"desired_state": "Disabled"}]

not_polled = pytest.mark.parametrize("fields", NOT_POLLED)


def deleted() -> Manifest:
    metadata = {"deletionTimestamp": format_time(DELETED_AT), "finalizers": [FINALIZER], "generation": 2}
    return node_manifest(metadata=metadata)


def reason(state: NodeState | None, **fields: Any) -> str | None:
    manifest = deleted()
    return release_reason(manifest, view_of(node_row(manifest, state=state, **fields)))


@not_polled
def test_it_goes_at_once_if_its_last_poll_found_no_meetings(fields: dict[str, Any]) -> None:
    assert reason(node_state(meetings=0), **fields) == EMPTY
    assert reason(node_state(meetings=2), **fields) is None


@not_polled
def test_zeros_of_a_failed_poll_are_no_knowledge(fields: dict[str, Any]) -> None:
    failed = node_state(ready=False, proven=False, failures=1, ready_changed_at=DELETED_AT)
    assert reason(failed, **fields) is None


@not_polled
@pytest.mark.parametrize("state", [None, node_state(meetings=0)])
def test_meetings_that_the_database_knows_hold_it_whatever_the_last_poll_says(
    fields: dict[str, Any], state: NodeState | None
) -> None:
    assert reason(state, **fields, has_meetings=True) is None


@not_polled
def test_what_was_found_at_another_address_says_nothing(fields: dict[str, Any]) -> None:
    assert reason(node_state(meetings=0), revision=2, **fields) is None


@not_polled
@pytest.mark.parametrize(("minutes", "expected"), [(9, EMPTY), (11, None)])
def test_a_poll_of_long_ago_says_nothing(fields: dict[str, Any], minutes: int, expected: str | None) -> None:
    manifest = deleted()
    before = NOW - timedelta(minutes=minutes)
    row = node_row(manifest, state=node_state(meetings=0), written_at=before, **fields)
    assert release_reason(manifest, view_of(row, tick_at=before)) == expected


@given(
    polls=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12),
    fields=st.sampled_from(NOT_POLLED),
)
def test_a_node_with_running_meetings_never_goes_on_what_polls_left(
    polls: list[tuple[bool, bool]], fields: dict[str, Any]
) -> None:
    """Whatever polls of whatever revisions answered or failed: the server has four meetings all the time."""
    state: NodeState | None = None
    revision = 1
    for answered, changed in polls:
        revision += changed
        why = Reason.RESPONDING if answered else Reason.TIMEOUT
        seen = Observation(why, "", 4 * answered, 9 * answered, LoadReport(None), 0.1)
        state = next_state(state, seen, revision=revision, policy=HealthPolicy(), now=DELETED_AT, jitter=0.0)
    assert reason(state, revision=revision, **fields) is None


def test_a_node_that_is_the_server_of_an_older_one_goes_at_once_for_that_one_keeps_the_meetings() -> None:
    assert reason(node_state(meetings=2)) is None
    assert reason(node_state(meetings=2), duplicate_of="a") == "BBBNode a is the same server and keeps its meetings"
