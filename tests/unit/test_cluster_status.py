"""The status of a BBBCluster: whole dictionaries for each reason, and the numbers of its nodes."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.health import GuardState
from b3lb.resources import BBBClusterStatus, BBBNodeSpec
from b3lb.resources.reasons import CLUSTER_REASONS
from b3lb_operator.manifests.cluster_status import ClusterFacts, NodeWithStatus, build_cluster_status
from b3lb_operator.manifests.facts import Block, Freshness

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SINCE = NOW - timedelta(seconds=40)
FRESH = Freshness(tick_started_at=SINCE, tick_finished_at=NOW - timedelta(seconds=5), read_at=NOW)
STALE = dataclasses.replace(FRESH, tick_finished_at=NOW - timedelta(seconds=151))
LOST = dataclasses.replace(FRESH, read_at=NOW - timedelta(seconds=151), error="connection refused")
QUIET = GuardState()
NO_CHECK = (
    "no health check since 2026-03-01T11:57:29Z: see the BBBQueue that runs check-nodes, its CronJob and its Jobs"
)


def node(
    *,
    ready: bool = True,
    schedulable: bool = True,
    meetings: int = 2,
    attendees: int = 20,
    most: int | None = None,
    full: bool = False,
) -> NodeWithStatus:
    spec = BBBNodeSpec.model_validate({"host": "a.example.org", "secretRef": {"name": "a"}, "maxAttendees": most})
    conditions = [
        {"type": "Ready", "status": "True" if ready else "False"},
        {"type": "Schedulable", "status": "True" if schedulable else "False", "reason": "Cordoned"},
    ]
    if full:
        conditions[1] = {"type": "Schedulable", "status": "False", "reason": "MaxAttendeesReached"}
    numbers = {"meetings": meetings, "attendees": attendees} if ready else {}
    return spec, {"conditions": conditions, **numbers}


def build(old: dict[str, Any] | None = None, *, now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"generation": 2, "freshness": FRESH, "guard": QUIET, "nodes": (), "stored": True}
    status = build_cluster_status(ClusterFacts(**{**values, **changes}), old=old or {}, now=now)
    BBBClusterStatus.model_validate(status)
    return status


def whole(type_: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "observedGeneration": 2,
        "lastTransitionTime": "2026-03-01T12:00:00Z",
        "reason": reason,
        "message": message,
    }


ACCEPTED = whole("Ready", "True", "Accepted", "the policies are in use")
BELOW = whole("MassFailure", "False", "BelowShare", "fewer nodes fail at once than the guard's share")


def test_a_cluster_adds_up_its_nodes() -> None:
    nodes = [node(most=100), node(ready=False, schedulable=False), node(schedulable=False, most=50)]
    assert build(nodes=nodes) == {
        "observedGeneration": 2,
        "nodes": {"total": 3, "ready": 2, "schedulable": 1, "summary": "2/3"},
        "meetings": 4,
        "attendees": 40,
        "headroomAttendees": 80,
        "conditions": [ACCEPTED, BELOW],
    }


@pytest.mark.parametrize(
    ("nodes", "headroom"),
    [
        pytest.param([], None, id="no node"),
        pytest.param([node(schedulable=False, most=100)], None, id="no schedulable node"),
        pytest.param([node(ready=False, schedulable=False, most=100)], None, id="no Ready node"),
        pytest.param([node(full=True, most=20)], 0, id="all full"),
        pytest.param([node(full=True), node(most=100)], 80, id="a full one takes none"),
        pytest.param([node(most=100), node(most=25)], 85, id="all limited"),
        pytest.param([node(most=10), node(most=25)], 5, id="more attendees than allowed count as none left"),
        pytest.param([node(most=100), node()], None, id="one without limit"),
        pytest.param([node(most=100), node(schedulable=False)], 80, id="one without limit that gets no meetings"),
    ],
)
def test_headroom_is_what_schedulable_nodes_take_and_absent_without_limit_or_knowledge(
    nodes: list[NodeWithStatus], headroom: int | None
) -> None:
    assert build(nodes=nodes).get("headroomAttendees") == headroom


@pytest.mark.parametrize("nodes", [[], [node(ready=False, schedulable=False)]])
def test_numbers_of_which_none_is_known_are_absent_instead_of_zero(nodes: list[NodeWithStatus]) -> None:
    status = build(nodes=nodes)
    assert status.keys() == {"observedGeneration", "nodes", "conditions"}


def test_a_server_that_two_nodes_lead_to_counts_once() -> None:
    spec, status = node()
    status["conditions"][1] = {"type": "Schedulable", "status": "False", "reason": "DuplicateServer"}
    built = build(nodes=[node(), (spec, status)])
    assert (built["meetings"], built["attendees"]) == (2, 20)


def test_a_ready_node_without_numbers_adds_none() -> None:
    spec, status = node()
    unknown = {"conditions": status["conditions"]}
    assert "meetings" not in build(nodes=[(spec, unknown)])
    assert build(nodes=[(spec, unknown), node()])["meetings"] == 2


PENDING = whole("Ready", "Unknown", "Pending", "the policies are not in the database yet")


def test_a_new_cluster_is_pending_until_the_database_has_it() -> None:
    status = build(stored=False)
    assert status["conditions"] == [PENDING, BELOW]
    assert build(status)["conditions"] == [ACCEPTED, BELOW]


def test_a_new_cluster_says_when_there_is_no_database_for_it() -> None:
    pending = build(stored=False)
    (ready, _) = build(pending, stored=False, freshness=LOST)["conditions"]
    assert (ready["status"], ready["reason"]) == ("Unknown", "DatabaseUnavailable")
    (ready, _) = build(pending, stored=False, freshness=STALE)["conditions"]
    assert ready == PENDING


@pytest.mark.parametrize("freshness", [FRESH, STALE, LOST])
def test_what_was_said_of_the_generation_before_stands_until_the_next_is_stored(freshness: Freshness) -> None:
    """The observed generation stays with it, so that nobody who waits for the new one is satisfied early."""
    old = build()
    changed = build(old, generation=3, stored=False, freshness=freshness)
    assert changed["observedGeneration"] == 2
    assert changed["conditions"][0] == old["conditions"][0]
    stored = build(changed, generation=3)
    assert (stored["observedGeneration"], stored["conditions"][0]["observedGeneration"]) == (3, 3)


@pytest.mark.parametrize("reason", ["SecretNotFound", "SecretKeyNotFound", "InvalidCertificates", "InvalidSpec"])
def test_a_cluster_that_cannot_be_used_says_why(reason: str) -> None:
    status = build(block=Block(reason, "what to do"))
    assert status["conditions"] == [whole("Ready", "False", reason, "what to do"), BELOW]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"guard": GuardState(since=SINCE, failed=5, polled=8)},
            whole(
                "MassFailure",
                "True",
                "NodesFailing",
                "5 of 8 Ready nodes failed in the same round; since 2026-03-01T11:59:20Z all nodes keep their state: "
                "look for a fault between here and the nodes (DNS, routing, firewall)",
            ),
            id="the guard holds",
        ),
        pytest.param(
            {"guard": GuardState(exhausted=True, failed=5, polled=8)},
            whole(
                "MassFailure",
                "False",
                "GuardExhausted",
                "5 of 8 Ready nodes failed in the same round; the guard held for its longest time, failures count "
                "again",
            ),
            id="the guard held long enough",
        ),
        pytest.param(
            {"guard": None},
            whole("MassFailure", "Unknown", "Pending", "no round of health checks was seen yet"),
            id="no row yet",
        ),
        pytest.param(
            {"freshness": dataclasses.replace(FRESH, tick_started_at=None, tick_finished_at=None)},
            whole("MassFailure", "Unknown", "Pending", "no round of health checks was seen yet"),
            id="no round yet",
        ),
    ],
)
def test_mass_failure(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    assert build(**changes)["conditions"] == [ACCEPTED, expected]


@pytest.mark.parametrize(
    ("freshness", "reason", "message"),
    [
        (
            STALE,
            "Stale",
            NO_CHECK,
        ),
        (
            LOST,
            "DatabaseUnavailable",
            "the database cannot be read since 2026-03-01T11:57:29Z: connection refused",
        ),
    ],
)
def test_without_recent_checks_the_numbers_are_absent(freshness: Freshness, reason: str, message: str) -> None:
    assert build(freshness=freshness, nodes=[node(ready=False, schedulable=False)]) == {
        "observedGeneration": 2,
        "nodes": {"total": 1, "ready": 0, "schedulable": 0, "summary": "0/1"},
        "conditions": [ACCEPTED, whole("MassFailure", "Unknown", reason, message)],
    }


FACTS = st.builds(
    ClusterFacts,
    generation=st.integers(1, 3),
    freshness=st.sampled_from([FRESH, STALE, LOST]),
    nodes=st.lists(st.builds(node, ready=st.booleans(), schedulable=st.booleans(), most=st.none() | st.just(30))),
    block=st.none() | st.just(Block("SecretNotFound", "Secret ca does not exist")),
    stored=st.booleans(),
    guard=st.sampled_from([None, QUIET, GuardState(since=SINCE, failed=3, polled=4), GuardState(exhausted=True)]),
)


@given(FACTS, FACTS)
def test_building_again_changes_nothing_and_every_reason_is_in_the_reference(
    before: ClusterFacts, now: ClusterFacts
) -> None:
    old = build_cluster_status(before, old={}, now=SINCE)
    once = build_cluster_status(now, old=old, now=NOW)
    assert build_cluster_status(now, old=once, now=NOW) == once
    explained = {(meaning.condition, meaning.status, meaning.reason) for meaning in CLUSTER_REASONS}
    assert {(entry["type"], entry["status"], entry["reason"]) for entry in once["conditions"]} <= explained
