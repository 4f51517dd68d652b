"""The status of a BBBCluster from its nodes and its guard: a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from b3lb.health import GuardState
from b3lb.resources.conditions import (
    ClusterCondition,
    ClusterReason,
    ConditionStatus,
    NodeCondition,
    find_condition,
    format_time,
    set_condition,
)
from b3lb.resources.node import BBBNodeSpec
from b3lb_operator.manifests.facts import Block, Freshness, Verdict

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN

NodeWithStatus = tuple[BBBNodeSpec, Mapping[str, Any]]
"""Spec and built status of a BBBNode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """All that a cluster's status follows from.

    ``nodes`` are spec and built status of every BBBNode that refers to the cluster. ``block`` says why the cluster's
    spec cannot be used (SecretNotFound, SecretKeyNotFound, InvalidCertificates, InvalidSpec of ``ClusterReason``).
    ``guard`` is None while the database says nothing of it.
    """

    generation: int
    freshness: Freshness
    nodes: Sequence[NodeWithStatus] = ()
    block: Block | None = None
    guard: GuardState | None = None


def build_cluster_status(facts: ClusterFacts, *, old: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the whole status; keys that are absent in it are to be removed from the object.

    Args:
        facts: What is known.
        old: The status that the object carries, {} for none.
        now: The database's time.
    """
    outdated = facts.freshness.outdated(now)
    conditions = [dict(condition) for condition in old.get("conditions", ())]
    verdicts = {
        ClusterCondition.READY: _ready(facts),
        ClusterCondition.MASS_FAILURE: _mass_failure(facts, outdated),
    }
    for type_, verdict in verdicts.items():
        conditions = set_condition(
            conditions,
            type_,
            status=verdict.status,
            reason=verdict.reason,
            message=verdict.message,
            observed_generation=facts.generation,
            now=now,
        )
    numbers = _numbers(facts.nodes) if outdated is None else {}
    counts = {"nodes": _counts(facts.nodes)}
    return {"observedGeneration": facts.generation, **counts, **numbers, "conditions": conditions}


def _ready(facts: ClusterFacts) -> Verdict:
    if facts.block is not None:
        return Verdict(status=_FALSE, reason=facts.block.reason, message=facts.block.message)
    return Verdict(status=_TRUE, reason=ClusterReason.ACCEPTED, message="the policies are in use")


def _mass_failure(facts: ClusterFacts, outdated: Block | None) -> Verdict:
    guard = facts.guard
    if outdated is not None:
        return Verdict(status=_UNKNOWN, reason=outdated.reason, message=outdated.message)
    if guard is None:
        return Verdict(status=_UNKNOWN, reason=ClusterReason.PENDING, message="no round of health checks was seen yet")
    failed = f"{guard.failed} of {guard.polled} Ready nodes failed in the same round"
    if guard.since is not None:
        message = (
            f"{failed}; since {format_time(guard.since)} all nodes keep their state: look for a fault between here and "
            "the nodes (DNS, routing, firewall)"
        )
        return Verdict(status=_TRUE, reason=ClusterReason.NODES_FAILING, message=message)
    if guard.exhausted:
        message = f"{failed}; the guard held for its longest time, failures count again"
        return Verdict(status=_FALSE, reason=ClusterReason.GUARD_EXHAUSTED, message=message)
    message = "fewer nodes fail at once than the guard's share"
    return Verdict(status=_FALSE, reason=ClusterReason.BELOW_SHARE, message=message)


def _holds(status: Mapping[str, Any], type_: NodeCondition) -> bool:
    condition = find_condition(status.get("conditions", ()), type_)
    return condition is not None and condition["status"] == _TRUE


def _counts(nodes: Sequence[NodeWithStatus]) -> dict[str, int | str]:
    ready = sum(_holds(status, NodeCondition.READY) for _, status in nodes)
    schedulable = sum(_holds(status, NodeCondition.SCHEDULABLE) for _, status in nodes)
    return {"total": len(nodes), "ready": ready, "schedulable": schedulable, "summary": f"{ready}/{len(nodes)}"}


def _numbers(nodes: Sequence[NodeWithStatus]) -> dict[str, int]:
    numbers = {
        "meetings": sum(status.get("meetings", 0) for _, status in nodes),
        "attendees": sum(status.get("attendees", 0) for _, status in nodes),
    }
    headroom = 0
    for spec, status in nodes:
        if not _holds(status, NodeCondition.SCHEDULABLE):
            continue
        if spec.max_attendees is None:
            return numbers
        headroom += max(0, spec.max_attendees - status.get("attendees", 0))
    return {**numbers, "headroomAttendees": headroom}
