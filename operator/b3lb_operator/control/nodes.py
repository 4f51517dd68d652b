"""``/nodes`` and ``/clusters``: the BBB servers, and what their clusters still take."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from b3lb.metrics.nodes import NodeSample, headroom_attendees, recommended_nodes
from b3lb.resources.conditions import ClusterCondition, ConditionStatus, NodeCondition, find_condition
from b3lb.resources.node import DesiredState
from b3lb.views.values import Document
from b3lb_operator.control.farms import Farms
from b3lb_operator.control.questions import Question
from b3lb_operator.kinds import CLUSTER, Key, Manifest
from b3lb_operator.samples import node_samples

_DELETING = "Deleting"


async def nodes(farms: Farms, question: Question) -> Document:
    """Return the nodes; without a database with the numbers that were last seen."""
    namespaces = question.namespaces(farms.namespaces)
    metrics, now = await farms.farm_metrics(), datetime.now(UTC)
    sampled = node_samples(farms.store, namespaces, metrics)
    return farms.listing("NodeList", [node_item(manifest, sample, now=now) for manifest, sample in sampled])


def node_item(manifest: Manifest, sample: NodeSample, *, now: datetime) -> Document:
    """Return what is shown of a node; load only while it is Ready, other numbers of the last good poll."""
    ready = _condition(manifest, NodeCondition.READY)
    schedulable = _condition(manifest, NodeCondition.SCHEDULABLE)
    return {
        "namespace": sample.namespace,
        "name": sample.node,
        "cluster": sample.cluster,
        "host": _host(manifest["spec"]),
        "state": _state(manifest),
        "ready": ready.get("status", ConditionStatus.UNKNOWN.value),
        "readyReason": ready.get("reason"),
        "readyMessage": ready.get("message"),
        "schedulable": schedulable.get("status", ConditionStatus.UNKNOWN.value),
        "schedulableReason": schedulable.get("reason"),
        "load": sample.load if sample.ready else None,
        "cpuPercent": None if sample.cpu is None else round(100 * sample.cpu, 2),
        "meetings": sample.meetings,
        "attendees": sample.attendees,
        "lastGoodPollSeconds": None if sample.polled_at is None else _age(sample.polled_at, now),
        "transitionTime": ready.get("lastTransitionTime"),
        "safeToTerminate": sample.safe_to_terminate,
    }


async def clusters(farms: Farms, question: Question) -> Document:
    """Return the clusters with what their nodes add up to."""
    namespaces = question.namespaces(farms.namespaces)
    sampled = [sample for _, sample in node_samples(farms.store, namespaces, await farms.farm_metrics())]
    items = [
        cluster_item(key, manifest, [node for node in sampled if (node.namespace, node.cluster) == key])
        for namespace in namespaces
        for key, manifest in farms.store.in_namespace(CLUSTER, namespace)
    ]
    return farms.listing("ClusterList", items)


def cluster_item(key: Key, manifest: Manifest, members: Sequence[NodeSample]) -> Document:
    """Return what is shown of a cluster; its meetings and attendees are those of nodes that are Ready."""
    ready = [node for node in members if node.ready]
    return {
        "namespace": key.namespace,
        "name": key.name,
        "nodes": len(members),
        "nodesReady": len(ready),
        "nodesSchedulable": sum(node.schedulable for node in members),
        "meetings": sum(node.meetings or 0 for node in ready),
        "attendees": sum(node.attendees or 0 for node in ready),
        "headroomAttendees": headroom_attendees(members),
        "recommendedNodes": recommended_nodes(members),
        "massFailure": _condition(manifest, ClusterCondition.MASS_FAILURE).get("status") == ConditionStatus.TRUE,
    }


def _condition(manifest: Manifest, type_: str) -> dict[str, Any]:
    return dict(find_condition((manifest.get("status") or {}).get("conditions", ()), type_) or {})


def _state(manifest: Manifest) -> str:
    deleting = "deletionTimestamp" in manifest["metadata"]
    return _DELETING if deleting else str(manifest["spec"].get("state", DesiredState.ACTIVE.value))


def _host(spec: Manifest) -> str | None:
    """Return the server's name; of a URL nothing else is shown, for it may hold credentials."""
    if spec.get("host"):
        return str(spec["host"])
    try:
        return urlsplit(spec.get("apiUrl", "")).hostname
    except ValueError:
        return None


def _age(moment: float, now: datetime) -> float:
    return max(0.0, round(now.timestamp() - moment, 3))
