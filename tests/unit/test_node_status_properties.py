"""What holds for the status of every BBBNode, whatever is known of it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from b3lb.health import LoadReason, NodeState, Reason
from b3lb.resources import BBBNodeSpec, BBBNodeStatus
from b3lb.resources.conditions import find_condition, format_time
from b3lb.resources.reasons import NODE_REASONS
from b3lb_operator.manifests.facts import Block, Freshness, NodeFacts, NodeRecord
from b3lb_operator.manifests.node_status import build_node_status

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=1)
FRESH = Freshness(tick_started_at=NOW - timedelta(seconds=8), tick_finished_at=NOW - timedelta(seconds=5), read_at=NOW)
NEVER = Freshness(tick_started_at=None, tick_finished_at=None, read_at=NOW)
STALE = dataclasses.replace(FRESH, tick_finished_at=NOW - timedelta(seconds=151))
LOST = dataclasses.replace(FRESH, read_at=NOW - timedelta(seconds=20), error="connection refused")
LOST_LONG = dataclasses.replace(FRESH, read_at=NOW - timedelta(seconds=151), error="connection refused")


def spec(**fields: Any) -> BBBNodeSpec:
    return BBBNodeSpec.model_validate({"host": "bbb1.example.org", "secretRef": {"name": "bbb1"}, **fields})


OUTCOMES = st.just((True, Reason.RESPONDING)) | st.tuples(
    st.booleans(), st.sampled_from([reason for reason in Reason if reason is not Reason.RESPONDING])
)
STATES = st.builds(
    lambda outcome, **values: NodeState(ready=outcome[0], reason=outcome[1], **values),
    outcome=OUTCOMES,
    revision=st.sampled_from([6, 7]),
    proven=st.booleans(),
    message=st.sampled_from(["", "refused"]),
    failures=st.integers(0, 3),
    successes=st.integers(0, 2),
    next_poll_at=st.none(),
    ready_changed_at=st.just(BEFORE),
    meetings=st.integers(0, 3),
    attendees=st.integers(0, 9),
    cpu=st.none() | st.integers(0, 10_000),
    load_reason=st.sampled_from(list(LoadReason)),
    load_message=st.sampled_from(["", "HTTP 500"]),
    load_missed=st.integers(0, 4),
).filter(lambda state: state.cpu is not None or state.load_reason is not LoadReason.REPORTED)
RECORDS = st.none() | st.builds(
    NodeRecord,
    revision=st.just(7),
    state=st.none() | STATES,
    load=st.none() | st.floats(0, 1e5),
    observed_at=st.sampled_from([None, BEFORE, NOW]),
    observed_in_last_tick=st.booleans(),
    unreadable=st.booleans(),
)
FACTS = st.builds(
    NodeFacts,
    spec=st.builds(
        spec,
        state=st.sampled_from(["Active", "Cordoned", "Draining", "Disabled"]),
        maxMeetings=st.none() | st.integers(1, 3),
        drain=st.fixed_dictionaries({"deadlineSeconds": st.sampled_from([0, 3600])}),
    ),
    generation=st.integers(1, 3),
    freshness=st.sampled_from([FRESH, NEVER, STALE, LOST, LOST_LONG]),
    deleting=st.booleans(),
    deleted_at=st.sampled_from([None, BEFORE, NOW]),
    block=st.none() | st.just(Block("SecretNotFound", "Secret bbb1 does not exist")),
    record=RECORDS,
    guard_holds=st.booleans(),
)


@given(FACTS, FACTS)
def test_building_again_changes_nothing(before: NodeFacts, now: NodeFacts) -> None:
    old = build_node_status(before, old={}, now=BEFORE)
    once = build_node_status(now, old=old, now=NOW)
    assert build_node_status(now, old=once, now=NOW) == once
    BBBNodeStatus.model_validate(once)


@given(FACTS, FACTS)
def test_transition_times_move_only_with_the_status_of_their_condition(before: NodeFacts, now: NodeFacts) -> None:
    old = build_node_status(before, old={}, now=BEFORE)
    for entry in build_node_status(now, old=old, now=NOW)["conditions"]:
        same = find_condition(old["conditions"], entry["type"])
        unmoved = same is not None and same["status"] == entry["status"]
        assert entry["lastTransitionTime"] == (format_time(BEFORE if unmoved else NOW))


@given(FACTS)
def test_every_status_is_explained_in_the_reference_and_has_numbers_only_when_ready(now: NodeFacts) -> None:
    status = build_node_status(now, old={}, now=NOW)
    explained = {(meaning.condition, meaning.status, meaning.reason) for meaning in NODE_REASONS}
    ready = find_condition(status["conditions"], "Ready")
    assert ready is not None
    assert ("load" in status or "meetings" in status) <= (ready["status"] == "True")
    for entry in status["conditions"]:
        known = (entry["type"], entry["status"], entry["reason"]) in explained
        assert known or entry["reason"] == ready["reason"], entry
