"""Families of nodes and of the capacity of their clusters: what an autoscaler and an alert need."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from b3lb.metrics.histograms import POLL_BOUNDS, cumulative_buckets

FILL_SHARE = 0.75
"""Share of its nodes' limits up to which a cluster is to be filled, so that what begins next finds room."""

_NODE = ("namespace", "node", "cluster")
_CLUSTER = ("namespace", "cluster")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSample:
    """A node now; times are seconds since 1970, UTC, and None when they are not known.

    ``reason`` and ``schedulable_reason`` are those of its conditions Ready and Schedulable, empty while there are none.
    ``changed_at`` is when Ready last changed, ``polled_at`` when the last good poll was. ``load``, ``meetings`` and
    ``attendees`` are the last good poll's, ``cpu`` is a share of 1; all None before the first, ``cpu`` also when the
    node does not report it. ``full``: whether a limit keeps new meetings away. ``leaving``: whether it is to get no new
    meetings by its user's wish. ``meetings_known`` are those that have not ended for all that is known.
    """

    namespace: str
    node: str
    cluster: str
    ready: bool
    schedulable: bool
    reason: str = ""
    schedulable_reason: str = ""
    changed_at: float | None = None
    polled_at: float | None = None
    load: float | None = None
    cpu: float | None = None
    meetings: int | None = None
    attendees: int | None = None
    max_meetings: int | None = None
    max_attendees: int | None = None
    full: bool = False
    leaving: bool = False
    meetings_known: int | None = None

    @property
    def safe_to_terminate(self) -> bool:
        """Whether the node may be switched off: nothing new comes, and nothing is left, as a good poll showed."""
        return self.leaving and self.ready and self.meetings == 0 and self.meetings_known == 0


@dataclass(frozen=True, slots=True)
class ClusterSample:
    """A cluster, and whether its mass-failure guard holds."""

    namespace: str
    cluster: str
    mass_failure: bool = False


@dataclass(frozen=True, slots=True)
class PollTimes:
    """All polls of a namespace's nodes: counts by bucket of `POLL_BOUNDS`, and seconds in all."""

    namespace: str
    counts: Sequence[int]
    seconds: float


def node_families(nodes: Iterable[NodeSample], polls: Iterable[PollTimes] = ()) -> Iterator[Metric]:
    """Yield the families of the nodes; what is not known of a node has no sample."""
    gauges = {name: GaugeMetricFamily(name, text, labels=_NODE) for name, text in _NODE_GAUGES.items()}
    reason = GaugeMetricFamily(
        "b3lb_node_reason", "1 with the reason of the node's condition Ready", labels=(*_NODE, "reason")
    )
    unschedulable = GaugeMetricFamily(
        "b3lb_node_unschedulable_reason",
        "1 with the reason why the node gets no new meetings",
        labels=(*_NODE, "reason"),
    )
    for node in nodes:
        labels = (node.namespace, node.node, node.cluster)
        for family, value in zip(gauges.values(), _values(node), strict=True):
            if value is not None:
                family.add_metric(labels, value)
        if node.reason:
            reason.add_metric((*labels, node.reason), 1)
        if node.schedulable_reason and not node.schedulable:
            unschedulable.add_metric((*labels, node.schedulable_reason), 1)
    latency = HistogramMetricFamily(
        "b3lb_node_poll_seconds", "Duration of the polls of all nodes, failed ones included", labels=("namespace",)
    )
    for poll in polls:
        latency.add_metric((poll.namespace,), cumulative_buckets(poll.counts, POLL_BOUNDS), poll.seconds)
    yield from (*gauges.values(), reason, unschedulable, latency)


_NODE_GAUGES = {
    "b3lb_node_up": "Whether the node is Ready; 0 also while nothing is known of it",
    "b3lb_node_schedulable": "Whether the node gets new meetings",
    "b3lb_node_safe_to_terminate": "Whether the node gets no new meetings by its user's wish and has none left",
    "b3lb_node_load": "Load by the cluster's formula; -1 for a node that is not Ready",
    "b3lb_node_cpu_ratio": "CPU load that the node reports, 0 to 1",
    "b3lb_node_meetings": "Meetings at the last good poll, while the node is Ready",
    "b3lb_node_attendees": "Attendees at the last good poll, while the node is Ready",
    "b3lb_node_state_changed_timestamp_seconds": "When the node's Ready last changed",
    "b3lb_node_last_good_poll_timestamp_seconds": "When the node last answered a poll well",
}


def _values(node: NodeSample) -> tuple[float | None, ...]:
    """Return the values of ``_NODE_GAUGES``, in their order."""
    return (
        float(node.ready),
        float(node.schedulable),
        float(node.safe_to_terminate),
        node.load if node.ready else -1.0,
        node.cpu if node.ready else None,
        node.meetings if node.ready else None,
        node.attendees if node.ready else None,
        node.changed_at,
        node.polled_at,
    )


def cluster_families(clusters: Iterable[ClusterSample], nodes: Iterable[NodeSample]) -> Iterator[Metric]:
    """Yield the families of the clusters, with what their capacity says to an autoscaler."""
    members: dict[tuple[str, str], list[NodeSample]] = defaultdict(list)
    for node in nodes:
        members[node.namespace, node.cluster].append(node)
    total = GaugeMetricFamily("b3lb_cluster_nodes", "Nodes of the cluster, by state", labels=(*_CLUSTER, "state"))
    guard = GaugeMetricFamily(
        "b3lb_cluster_mass_failure", "Whether so many nodes failed at once that all keep their states", labels=_CLUSTER
    )
    headroom = GaugeMetricFamily(
        "b3lb_cluster_headroom_attendees",
        "Attendees that the nodes still take by their limits; absent without limits",
        labels=_CLUSTER,
    )
    recommended = GaugeMetricFamily(
        "b3lb_cluster_recommended_nodes",
        f"Nodes with which the cluster would be filled to {FILL_SHARE:.0%} of its limits; absent without limits",
        labels=_CLUSTER,
    )
    for cluster in clusters:
        labels = (cluster.namespace, cluster.cluster)
        of_cluster = members.get(labels, [])
        guard.add_metric(labels, float(cluster.mass_failure))
        total.add_metric((*labels, "total"), len(of_cluster))
        total.add_metric((*labels, "ready"), sum(node.ready for node in of_cluster))
        total.add_metric((*labels, "schedulable"), sum(node.schedulable for node in of_cluster))
        for family, value in ((headroom, headroom_attendees(of_cluster)), (recommended, recommended_nodes(of_cluster))):
            if value is not None:
                family.add_metric(labels, value)
    yield from (total, guard, headroom, recommended)


def headroom_attendees(nodes: Iterable[NodeSample]) -> int | None:
    """Return how many attendees the nodes still take; None without limit, and when all are out of service.

    A full node takes none, which is known; one that is to get no meetings says nothing.
    """
    left = []
    for node in nodes:
        if node.ready and node.full:
            left.append(0)
        elif node.schedulable:
            if node.max_attendees is None:
                return None
            left.append(max(0, node.max_attendees - (node.attendees or 0)))
    return sum(left) if left else None


def recommended_nodes(nodes: Iterable[NodeSample]) -> int | None:
    """Return with how many nodes the cluster would be filled to `FILL_SHARE`, at least 1; None where no limits say so.

    A node more is taken to be as large as the mean of those that are in service. What runs on nodes that leave counts,
    for it comes back elsewhere; those nodes do not.
    """
    nodes = list(nodes)
    serving = [node for node in nodes if node.ready and not node.leaving]
    here = [node for node in nodes if node.ready]
    attendees = _needed(sum(node.attendees or 0 for node in here), [node.max_attendees for node in serving])
    meetings = _needed(sum(node.meetings or 0 for node in here), [node.max_meetings for node in serving])
    return max((number for number in (attendees, meetings) if number is not None), default=None)


def _needed(used: int, limits: Sequence[int | None]) -> int | None:
    known = [limit for limit in limits if limit is not None]
    if not known or len(known) < len(limits) or not sum(known):
        return None
    return max(1, math.ceil(used * len(known) / (sum(known) * FILL_SHARE)))
