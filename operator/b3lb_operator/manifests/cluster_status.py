"""The status of a BBBCluster from its nodes and its guard: a pure function."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from b3lb.health import GuardState
from b3lb.resources.conditions import (
    ClusterCondition,
    ClusterReason,
    ConditionStatus,
    NodeCondition,
    NodeReason,
    find_condition,
    format_time,
)
from b3lb.resources.node import BBBNodeSpec
from b3lb_operator.manifests.facts import Block, Freshness, Verdict
from b3lb_operator.manifests.verdicts import Acceptance, accepted, set_conditions

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN

_FULL = (NodeReason.MAX_MEETINGS_REACHED, NodeReason.MAX_ATTENDEES_REACHED)
_DUPLICATE = (NodeReason.DUPLICATE_SERVER,)

NodeWithStatus = tuple[BBBNodeSpec, Mapping[str, Any]]
"""Spec and built status of a BBBNode."""


@dataclass(frozen=True, slots=True)
class ClusterOutcome:
    """What storing one generation of a BBBCluster led to; ``block`` is None when it can be used as it is written."""

    uid: str
    generation: int
    block: Block | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """All that a cluster's status follows from.

    ``nodes`` are spec and built status of every BBBNode that refers to the cluster. ``block`` says why the cluster's
    spec cannot be used (SecretNotFound, SecretKeyNotFound, InvalidCertificates, InvalidSpec of ``ClusterReason``).
    ``stored``: whether the database holds this very generation, to be used as it is written; ``missing``: whether it
    can be read and holds none. ``guard`` is None while the database says nothing of it.
    """

    generation: int
    freshness: Freshness
    nodes: Sequence[NodeWithStatus] = ()
    block: Block | None = None
    stored: bool = False
    missing: bool = False
    guard: GuardState | None = None


def build_cluster_status(facts: ClusterFacts, *, old: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the whole status; keys that are absent in it are to be removed from the object.

    Args:
        facts: What is known.
        old: The status that the object carries, {} for none.
        now: The database's time.
    """
    outdated = facts.freshness.outdated(now)
    conditions = old.get("conditions", ())
    acceptance = Acceptance(
        block=facts.block,
        stored=facts.stored,
        missing=facts.missing,
        outdated=outdated,
        in_use="the policies are in use",
        waiting="the policies are not in the database yet",
    )
    ready = accepted(acceptance, find_condition(conditions, ClusterCondition.READY))
    observed = facts.generation if ready.observed_generation is None else ready.observed_generation
    verdicts: dict[str, Verdict] = {
        ClusterCondition.READY: ready,
        ClusterCondition.MASS_FAILURE: _mass_failure(facts, outdated),
    }
    numbers = _numbers(facts.nodes) if outdated is None else {}
    counts = {"nodes": _counts(facts.nodes)}
    return {
        "observedGeneration": observed,
        **counts,
        **numbers,
        "conditions": set_conditions(conditions, verdicts, generation=observed, now=now),
    }


def _mass_failure(facts: ClusterFacts, outdated: Block | None) -> Verdict:
    guard = facts.guard
    if outdated is not None:
        return Verdict(status=_UNKNOWN, reason=outdated.reason, message=outdated.message)
    if guard is None or facts.freshness.tick_finished_at is None:
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
    """Return the sums over the servers that are Ready; nothing when none is, for 0 would claim to be known."""
    known = [
        (spec, status)
        for spec, status in nodes
        if _holds(status, NodeCondition.READY) and "meetings" in status and not _says(status, _DUPLICATE)
    ]
    if not known:
        return {}
    numbers = {
        "meetings": sum(status["meetings"] for _, status in known),
        "attendees": sum(status["attendees"] for _, status in known),
    }
    headroom = _headroom(known)
    return numbers if headroom is None else {**numbers, "headroomAttendees": headroom}


def _headroom(nodes: Sequence[NodeWithStatus]) -> int | None:
    """Return how many attendees the nodes still take; None without limit, and when all are out of service.

    A full node takes none, which is known; one that is to get no meetings says nothing.
    """
    left = [0 for _, status in nodes if _says(status, _FULL)]
    for spec, status in nodes:
        if not _holds(status, NodeCondition.SCHEDULABLE):
            continue
        if spec.max_attendees is None:
            return None
        left.append(max(0, spec.max_attendees - status["attendees"]))
    return sum(left) if left else None


def _says(status: Mapping[str, Any], reasons: Collection[NodeReason]) -> bool:
    """Whether the node takes no new meetings for one of ``reasons``."""
    condition = find_condition(status.get("conditions", ()), NodeCondition.SCHEDULABLE)
    return condition is not None and condition.get("reason") in reasons
