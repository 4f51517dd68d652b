"""Facts and expected conditions for tests of the status of a BBBNode."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from b3lb.health import NodeState, Reason
from b3lb.resources import BBBNodeSpec, BBBNodeStatus
from b3lb.resources.conditions import find_condition
from b3lb_operator.manifests.facts import Freshness, NodeFacts, NodeRecord
from b3lb_operator.manifests.node_status import build_node_status
from tests.states import healthy

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=1)
BEFORE_TEXT = "2026-03-01T11:00:00Z"
NOW_TEXT = "2026-03-01T12:00:00Z"
FRESH = Freshness(tick_started_at=NOW - timedelta(seconds=8), tick_finished_at=NOW - timedelta(seconds=5), read_at=NOW)
NEVER = Freshness(tick_started_at=None, tick_finished_at=None, read_at=NOW)
STALE = Freshness(
    tick_started_at=NOW - timedelta(seconds=200), tick_finished_at=NOW - timedelta(seconds=151), read_at=NOW
)
LOST = dataclasses.replace(FRESH, read_at=NOW - timedelta(seconds=20), error="connection refused")
LOST_LONG = dataclasses.replace(FRESH, read_at=NOW - timedelta(seconds=151), error="connection refused")
GOOD = healthy(revision=7, ready_changed_at=BEFORE, meetings=4, attendees=61, cpu=1234)
DEAD = dataclasses.replace(
    GOOD, ready=False, reason=Reason.TIMEOUT, message="no answer within 5 s", failures=3, successes=0
)
FAILING = dataclasses.replace(GOOD, reason=Reason.REFUSED, message="connection refused", failures=1, successes=0)


def spec(**fields: Any) -> BBBNodeSpec:
    return BBBNodeSpec.model_validate({"host": "bbb1.example.org", "secretRef": {"name": "bbb1"}, **fields})


def record(
    state: NodeState | None = GOOD, *, revision: int = 7, load: float | None = 283.4, unreadable: bool = False
) -> NodeRecord:
    return NodeRecord(
        revision=revision,
        state=state,
        load=load,
        observed_at=BEFORE if state else None,
        observed_in_last_tick=not unreadable,
        unreadable=unreadable,
    )


WRONG_KEY = (
    "the jobs cannot decrypt the node's API secret: the pods' key (B3LB_ENCRYPTION_KEYS in the Secret that the pods "
    "read) differs from the operator's"
)


def facts(**changes: Any) -> NodeFacts:
    values: dict[str, Any] = {"spec": spec(), "generation": 3, "freshness": FRESH, "record": record()}
    return NodeFacts(**{**values, **changes})


def build(old: dict[str, Any] | None = None, *, now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    status = build_node_status(facts(**changes), old=old or {}, now=now)
    BBBNodeStatus.model_validate(status)
    return status


def condition(status: dict[str, Any], type_: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    found = find_condition(status["conditions"], type_)
    assert found is not None, type_
    return found["status"], found["reason"], found["message"]


def whole(type_: str, status: str, reason: str, message: str, **changes: Any) -> dict[str, Any]:
    expected = {
        "type": type_,
        "status": status,
        "observedGeneration": 3,
        "lastTransitionTime": NOW_TEXT,
        "reason": reason,
        "message": message,
    }
    return expected | changes


NO_LOAD = whole("LoadReported", "Unknown", "NotReady", "the load is asked for only while the node is Ready")
