"""Nodes, clusters and tenants as the pages show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from b3lb.dashboard.charts import fill
from b3lb.dashboard.documents import Document, count, flag, label, moment, number
from b3lb.dashboard.levels import RANK, Badge, Level
from b3lb.resources.conditions import NodeCondition
from b3lb.resources.reasons import NODE_REASONS

_NEAR_LIMIT = 0.9
_QUIET_STATES = {"Cordoned", "Draining", "Disabled"}


@dataclass(frozen=True, slots=True)
class Node:
    """A BBBNode; ``load_fill`` is its share of the highest load of the farm, ``attention`` why it is not usable."""

    namespace: str
    name: str
    cluster: str
    host: str
    state: str
    badge: Badge
    ready: bool | None
    reason: str
    message: str
    schedulable: bool | None
    schedulable_reason: str
    load: float | None
    load_fill: float
    cpu: float | None
    meetings: int | None
    attendees: int | None
    last_good_poll: float | None
    changed_at: datetime | None
    safe_to_terminate: bool
    meanings: tuple[tuple[str, str], ...]

    @property
    def attention(self) -> str:
        """Why the node gets no new meetings, empty when it gets some."""
        if self.ready is not True:
            return self.message or self.reason
        return "" if self.schedulable else self.schedulable_reason


@dataclass(frozen=True, slots=True)
class Cluster:
    """A BBBCluster."""

    namespace: str
    name: str
    badge: Badge
    nodes: int | None
    ready: int | None
    schedulable: int | None
    meetings: int | None
    attendees: int | None
    headroom: int | None
    recommended: int | None
    mass_failure: bool


@dataclass(frozen=True, slots=True)
class Tenant:
    """A BBBTenant; the fills are its shares of its limits."""

    namespace: str
    slug: str
    badge: Badge
    meetings: int | None
    meeting_limit: int | None
    meeting_fill: float
    attendees: int | None
    attendee_limit: int | None
    attendee_fill: float
    secrets: int | None
    last_used: datetime | None


def node(item: Document, highest_load: float | None = None) -> Node:
    """Return what the page shows of a BBBNode."""
    ready, schedulable = flag(item, "ready"), flag(item, "schedulable")
    reason, schedulable_reason = label(item, "readyReason"), label(item, "schedulableReason")
    state, load = label(item, "state"), number(item, "load")
    usable_load = load if load is not None and load >= 0 else None
    return Node(
        namespace=label(item, "namespace"),
        name=label(item, "name"),
        cluster=label(item, "cluster"),
        host=label(item, "host"),
        state=state,
        badge=_node_badge(
            ready=ready, reason=reason, schedulable=schedulable, schedulable_reason=schedulable_reason, state=state
        ),
        ready=ready,
        reason=reason,
        message=label(item, "readyMessage"),
        schedulable=schedulable,
        schedulable_reason=schedulable_reason,
        load=usable_load,
        load_fill=fill(usable_load, highest_load),
        cpu=number(item, "cpuPercent"),
        meetings=count(item, "meetings"),
        attendees=count(item, "attendees"),
        last_good_poll=number(item, "lastGoodPollSeconds"),
        changed_at=moment(item, "transitionTime"),
        safe_to_terminate=flag(item, "safeToTerminate") is True,
        meanings=_meanings(reason, schedulable_reason),
    )


def highest_load(documents: Iterable[Document]) -> float | None:
    """Return the highest load of all nodes, None while none is known."""
    return max((load for item in documents if (load := number(item, "load")) is not None), default=None)


def nodes_worst_first(documents: Iterable[Document]) -> list[Node]:
    """Return the nodes: what needs a person, then by load, at last what its user took out."""
    listed = list(documents)
    highest = highest_load(listed)
    nodes = [node(item, highest) for item in listed]
    return sorted(nodes, key=lambda found: (RANK[found.badge.level], -(found.load or 0.0), found.namespace, found.name))


def cluster(item: Document) -> Cluster:
    """Return what the page shows of a BBBCluster."""
    mass_failure = flag(item, "massFailure") is True
    nodes, ready = count(item, "nodes"), count(item, "nodesReady")
    if mass_failure:
        badge = Badge(Level.BAD, "Mass failure")
    elif nodes is None or ready is None:
        badge = Badge(Level.UNKNOWN, "Unknown")
    elif not nodes:
        badge = Badge(Level.IDLE, "No nodes")
    else:
        badge = Badge(Level.GOOD, "All ready") if ready == nodes else Badge(Level.WARNING, f"{nodes - ready} not ready")
    return Cluster(
        namespace=label(item, "namespace"),
        name=label(item, "name"),
        badge=badge,
        nodes=nodes,
        ready=ready,
        schedulable=count(item, "nodesSchedulable"),
        meetings=count(item, "meetings"),
        attendees=count(item, "attendees"),
        headroom=count(item, "headroomAttendees"),
        recommended=count(item, "recommendedNodes"),
        mass_failure=mass_failure,
    )


def clusters_worst_first(documents: Iterable[Document]) -> list[Cluster]:
    """Return the clusters, those that need a person first."""
    return sorted(map(cluster, documents), key=lambda found: (RANK[found.badge.level], found.namespace, found.name))


def tenant(item: Document) -> Tenant:
    """Return what the page shows of a BBBTenant."""
    meetings, meeting_limit = count(item, "meetings"), count(item, "meetingLimit")
    attendees, attendee_limit = count(item, "attendees"), count(item, "attendeeLimit")
    meeting_fill, attendee_fill = fill(meetings, meeting_limit), fill(attendees, attendee_limit)
    return Tenant(
        namespace=label(item, "namespace"),
        slug=label(item, "slug") or label(item, "name"),
        badge=_tenant_badge(item, max(meeting_fill, attendee_fill)),
        meetings=meetings,
        meeting_limit=meeting_limit,
        meeting_fill=meeting_fill,
        attendees=attendees,
        attendee_limit=attendee_limit,
        attendee_fill=attendee_fill,
        secrets=count(item, "secrets"),
        last_used=moment(item, "lastUsed"),
    )


def tenants_worst_first(documents: Iterable[Document]) -> list[Tenant]:
    """Return the tenants: what needs a person, then by attendees."""
    return sorted(
        map(tenant, documents),
        key=lambda found: (RANK[found.badge.level], -(found.attendees or 0), found.namespace, found.slug),
    )


def _node_badge(
    *, ready: bool | None, reason: str, schedulable: bool | None, schedulable_reason: str, state: str
) -> Badge:
    if state == "Disabled":
        return Badge(Level.IDLE, state)
    if ready is None:
        return Badge(Level.UNKNOWN, reason or "Unknown")
    if not ready:
        return Badge(Level.BAD, reason or "Not ready")
    if schedulable:
        return Badge(Level.GOOD, "Ready")
    quiet = state in _QUIET_STATES or schedulable_reason in _QUIET_STATES
    return Badge(Level.IDLE if quiet else Level.WARNING, schedulable_reason or state or "Not schedulable")


def _tenant_badge(item: Document, filled: float) -> Badge:
    reason = label(item, "reason")
    accepted = flag(item, "accepted")
    if flag(item, "enabled") is False:
        return Badge(Level.IDLE, "Disabled")
    if accepted is None:
        return Badge(Level.UNKNOWN, reason or "Unknown")
    if not accepted:
        return Badge(Level.BAD, reason or "Not accepted")
    if flag(item, "limitReached") is True:
        return Badge(Level.WARNING, "Limit reached")
    return Badge(Level.WARNING, "Limit near") if filled >= _NEAR_LIMIT else Badge(Level.GOOD, "Accepted")


def _meanings(ready_reason: str, schedulable_reason: str) -> tuple[tuple[str, str], ...]:
    """Return what the reasons of a node's two conditions mean, each once."""
    wanted = dict.fromkeys(
        ((NodeCondition.READY.value, ready_reason), (NodeCondition.SCHEDULABLE.value, schedulable_reason))
    )
    found: dict[str, str] = {}
    for condition, reason in wanted:
        for meaning in NODE_REASONS:
            if meaning.condition == condition and meaning.reason == reason:
                found.setdefault(reason, meaning.text)
    return tuple(found.items())
