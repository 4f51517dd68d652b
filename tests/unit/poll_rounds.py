"""Nodes, states and observations for tests of a round of polls."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from b3lb.crypto import KeyRing
from b3lb.db.node_states import NodePoll
from b3lb.health import (
    GuardPolicy,
    GuardState,
    HealthPolicy,
    LoadReason,
    LoadReport,
    NodeState,
    Observation,
    Reason,
)
from b3lb.load import LoadFormula
from tests.states import healthy

NOW = datetime(2026, 11, 23, 10, 30, 15, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=1)
SEEN_AT = NOW - timedelta(seconds=15)
KEYS = KeyRing.generate()
NO_POLLS = (0,) * 10


def seen(*, meetings: int = 2, attendees: int = 10, cpu: int | None = 2500, seconds: float = 0.02) -> Observation:
    report = LoadReport(cpu) if cpu is not None else LoadReport(None, LoadReason.NOT_FOUND, "404")
    return Observation(Reason.RESPONDING, "", meetings, attendees, report, seconds)


def failed(reason: Reason = Reason.REFUSED, *, seconds: float = 0.001) -> Observation:
    return Observation(reason, "no", 0, 0, LoadReport(None, LoadReason.UNREACHABLE, "no"), seconds)


READY = healthy(ready_changed_at=BEFORE, meetings=2, attendees=10, cpu=2500)
READY_LOAD = 10 + 2 * 30 + sum(0.25**power for power in range(1, 7)) * 5000 / 6
DOWN = dataclasses.replace(
    READY, ready=False, reason=Reason.REFUSED, message="no", failures=5, successes=0, next_poll_at=NOW
)


def poll(node_id: int, state: NodeState | None = READY, *, cluster_id: int = 1, **changes: Any) -> NodePoll:
    name = f"node-{node_id}"
    sealed = KEYS.encrypt(f"secret {node_id}", context=f"nodes/default/{name}")
    made = NodePoll(
        node_id=node_id,
        cluster_id=cluster_id,
        name=name,
        revision=1,
        api_url=f"http://{name}.example/bigbluebutton/api",
        load_url=f"http://{name}.example/b3lb/load",
        secret_ciphertext=sealed.ciphertext,
        secret_key_id=sealed.key_id,
        algorithm="sha256",
        ca_certificates=None,
        timeout_seconds=5,
        weight_percent=100,
        formula=LoadFormula(),
        health=HealthPolicy(),
        guard_policy=GuardPolicy(),
        guard=GuardState(),
        state=state,
        load=None if state is None else READY_LOAD,
        seen_at=None if state is None else SEEN_AT,
        observed_at=SEEN_AT,
        lost_meetings_seconds=86400,
    )
    return dataclasses.replace(made, **changes)
