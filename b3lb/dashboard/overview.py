"""The whole farm as the pages show it, read from the operator's document ``/control/v1/overview``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from b3lb.dashboard.attention import Finding, findings
from b3lb.dashboard.documents import Document, flag, items, label, moment, part, text, texts, total
from b3lb.dashboard.farm import (
    Cluster,
    Node,
    Tenant,
    clusters_worst_first,
    highest_load,
    node,
    nodes_worst_first,
    tenants_worst_first,
)
from b3lb.dashboard.levels import Badge, Folded, Level, folded
from b3lb.dashboard.queues import Queue, Task, failing_first, histories, queue, task, worst_first
from b3lb.dashboard.recordings import Recording, recordings_worst_first
from b3lb.dashboard.runs import Active, Run, active, longest_first, newest_first, run

_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Totals:
    """The farm in a few numbers."""

    nodes: int
    nodes_ready: int
    nodes_schedulable: int
    meetings: int | None
    attendees: int | None
    headroom: int | None
    queues: int
    queues_up: int
    waiting: int | None
    active: int | None
    succeeded_24h: int | None
    failed_24h: int | None
    tenants: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that the first page shows, worst first; ``several`` says whether names need their namespace."""

    as_of: datetime | None
    version: str
    namespaces: str
    several: bool
    badge: Badge
    findings: Folded[Finding]
    totals: Totals
    queues: list[Queue]
    tasks: list[Task]
    active: Folded[Active]
    runs: Folded[Run]
    nodes: Folded[Node]
    clusters: list[Cluster]
    tenants: Folded[Tenant]
    recordings: Folded[Recording]
    truncated: bool

    def has_queue(self, namespace: str, name: str) -> bool:
        """Whether there is a page of that queue: runs outlive their BBBQueue."""
        return any((queue.namespace, queue.name) == (namespace, name) for queue in self.queues)


def overview(document: Document) -> Overview:
    """Return what there is to show of the document."""
    ping = part(document, "ping")
    past = histories(document)
    queues = worst_first(queue(item, past) for item in items(document, "queues"))
    tasks = failing_first(task(item, past) for item in items(document, "stats"))
    nodes = nodes_worst_first(items(document, "nodes"))
    clusters = clusters_worst_first(items(document, "clusters"))
    tenants = tenants_worst_first(items(document, "tenants"))
    recordings = recordings_worst_first(items(document, "recordings"))
    found = findings(
        ping,
        database_up=flag(document, "databaseUp") is not False and flag(ping, "databaseUp") is not False,
        queues=queues,
        tasks=tasks,
        nodes=nodes,
        clusters=clusters,
        tenants=tenants,
        recordings=recordings,
    )
    namespaces = [name for name in texts(ping, "namespaces") if name] or sorted({item.namespace for item in queues})
    return Overview(
        as_of=moment(document, "asOf") or moment(ping, "asOf"),
        version=label(ping, "version"),
        namespaces=_names(namespaces),
        several=len(namespaces) > 1,
        badge=_badge(ping, found),
        findings=folded(found, 8),
        totals=_totals(queues, nodes, clusters, len(tenants)),
        queues=queues,
        tasks=tasks,
        active=folded(longest_first(active(item) for item in items(document, "active")), 10),
        runs=folded(newest_first(run(item) for item in items(document, "runs")), 10),
        nodes=folded(nodes),
        clusters=clusters,
        tenants=folded(tenants, 15),
        recordings=folded(recordings, 10),
        truncated=flag(document, "truncated") is True,
    )


def find_queue(document: Document, namespace: str, name: str) -> Queue | None:
    """Return a queue of the document, None if it is not there."""
    past = histories(document)
    found = (queue(item, past) for item in items(document, "queues") if _is(item, namespace, name))
    return next(found, None)


def tasks_of(document: Document, found: Queue) -> list[Task]:
    """Return the statistics of a queue's tasks."""
    past = histories(document)
    listed = (task(item, past) for item in items(document, "stats"))
    return failing_first(
        item for item in listed if item.queue == found.name and item.namespace in {"", found.namespace}
    )


def active_of(document: Document, found: Queue) -> list[Active]:
    """Return what pods work on for a queue."""
    listed = (active(item) for item in items(document, "active"))
    return longest_first(
        item for item in listed if item.queue == found.name and item.namespace in {"", found.namespace}
    )


def find_node(document: Document, namespace: str, name: str) -> Node | None:
    """Return a node of the document, None if it is not there."""
    listed = items(document, "nodes")
    found = (node(item, highest_load(listed)) for item in listed if _is(item, namespace, name))
    return next(found, None)


def _is(item: Document, namespace: str, name: str) -> bool:
    return (text(item, "namespace"), text(item, "name")) == (namespace, name)


def _names(namespaces: list[str]) -> str:
    more = f" and {len(namespaces) - _MOST_NAMES} more" if len(namespaces) > _MOST_NAMES else ""
    return ", ".join(namespaces[:_MOST_NAMES]) + more


def _badge(ping: Document, found: list[Finding]) -> Badge:
    bad = sum(finding.level is Level.BAD for finding in found)
    if bad:
        return Badge(Level.BAD, "1 problem" if bad == 1 else f"{bad} problems")
    if found:
        return Badge(Level.WARNING, "1 warning" if len(found) == 1 else f"{len(found)} warnings")
    return Badge(Level.GOOD, "All is well") if flag(ping, "ready") is not False else Badge(Level.UNKNOWN, "Not ready")


def _totals(queues: list[Queue], nodes: list[Node], clusters: list[Cluster], tenants: int) -> Totals:
    return Totals(
        nodes=len(nodes),
        nodes_ready=sum(node.ready is True for node in nodes),
        nodes_schedulable=sum(node.schedulable is True for node in nodes),
        meetings=total(node.meetings for node in nodes),
        attendees=total(node.attendees for node in nodes),
        # A cluster without limits has room without end, which is no number.
        headroom=None if any(item.headroom is None for item in clusters) else total(item.headroom for item in clusters),
        queues=len(queues),
        queues_up=sum(queue.badge.level is Level.GOOD for queue in queues),
        waiting=total(queue.depth for queue in queues),
        active=total(queue.active for queue in queues),
        succeeded_24h=total(queue.rates.succeeded_24h for queue in queues),
        failed_24h=total(queue.rates.failed_24h for queue in queues),
        tenants=tenants,
    )
