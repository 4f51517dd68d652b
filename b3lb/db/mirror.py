"""What the operator mirrors into the status of the custom resources: one consistent look at a namespace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from b3lb.db.node_states import guard_columns, guard_from, state_columns, state_from
from b3lb.db.tables import cluster_states, clusters, heartbeats, node_states, nodes
from b3lb.db.unpolled import Unpolled
from b3lb.health import GuardState, NodeState


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last tick of a task: when it was due, began and ended, by whom, under which fencing token.

    ``unpolled`` is what it left out, as its summary says.
    """

    task: str
    tick_at: datetime
    started_at: datetime
    finished_at: datetime
    holder: str
    token: int
    summary: Mapping[str, Any]
    unpolled: Unpolled = field(default_factory=Unpolled)


@dataclass(frozen=True, slots=True)
class ClusterMirror:
    """A cluster that is not deleted, and its mass-failure guard."""

    id: int
    name: str
    uid: str
    generation: int
    guard: GuardState


@dataclass(frozen=True, slots=True)
class NodeMirror:
    """A node that is not deleted, as configured, and its last state.

    ``desired_state`` is Active, Cordoned, Draining or Disabled. ``state`` is None before the first poll and may belong
    to an older ``revision``; ``load`` and ``written_at`` go with it.
    """

    id: int
    name: str
    uid: str
    generation: int
    revision: int
    cluster: str | None
    desired_state: str
    max_meetings: int | None
    max_attendees: int | None
    blocked_reason: str | None
    blocked_message: str | None
    state: NodeState | None
    load: float | None
    written_at: datetime | None

    @property
    def current(self) -> NodeState | None:
        """The state if it was found with the present configuration, else None."""
        return self.state if self.state is not None and self.state.revision == self.revision else None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A namespace at ``now`` (the database's clock): heartbeats by task, clusters and nodes by name."""

    now: datetime
    heartbeats: Mapping[str, Heartbeat]
    clusters: Mapping[str, ClusterMirror]
    nodes: Mapping[str, NodeMirror]

    def heartbeat(self, task: str = "check-nodes") -> Heartbeat | None:
        """Return the last tick of ``task``, None if there never was one."""
        return self.heartbeats.get(task)


_clock = sa.select(sa.func.clock_timestamp().label("now")).subquery("clock")
_HEARTBEATS = sa.select(_clock.c.now, heartbeats).select_from(
    _clock.outerjoin(heartbeats, heartbeats.c.namespace == sa.bindparam("namespace"))
)
_CLUSTERS = (
    sa.select(clusters.c.id, clusters.c.name, clusters.c.uid, clusters.c.generation, *guard_columns)
    .select_from(clusters.outerjoin(cluster_states, cluster_states.c.cluster_id == clusters.c.id))
    .where(clusters.c.namespace == sa.bindparam("namespace"), clusters.c.deleted_at.is_(None))
    .order_by(clusters.c.name)
)
_NODES = (
    sa.select(
        nodes.c.id,
        nodes.c.name,
        nodes.c.uid,
        nodes.c.generation,
        nodes.c.revision,
        clusters.c.name.label("cluster"),
        nodes.c.state.label("desired_state"),
        nodes.c.max_meetings,
        nodes.c.max_attendees,
        nodes.c.blocked_reason,
        nodes.c.blocked_message,
        node_states.c.node_id,
        node_states.c.load,
        node_states.c.written_at,
        *state_columns,
    )
    .select_from(
        nodes.outerjoin(clusters, clusters.c.id == nodes.c.cluster_id).outerjoin(
            node_states, node_states.c.node_id == nodes.c.id
        )
    )
    .where(nodes.c.namespace == sa.bindparam("namespace"), nodes.c.deleted_at.is_(None))
    .order_by(nodes.c.name)
)
_PLAIN_NODE_FIELDS = (
    "id",
    "name",
    "uid",
    "generation",
    "revision",
    "cluster",
    "desired_state",
    "max_meetings",
    "max_attendees",
    "blocked_reason",
    "blocked_message",
    "load",
    "written_at",
)


def read_snapshot(connection: sa.Connection, namespace: str) -> Snapshot:
    """Return what is to be mirrored of ``namespace``: three statements."""
    parameters = {"namespace": namespace}
    beats = connection.execute(_HEARTBEATS, parameters).mappings().all()
    cluster_rows = connection.execute(_CLUSTERS, parameters).mappings()
    found_clusters = {row["name"]: _cluster(row) for row in cluster_rows}
    node_rows = connection.execute(_NODES, parameters).mappings()
    return Snapshot(
        now=beats[0]["now"],
        heartbeats={row["task"]: _heartbeat(row) for row in beats if row["task"] is not None},
        clusters=found_clusters,
        nodes={row["name"]: _node(row) for row in node_rows},
    )


def _heartbeat(row: Mapping[Any, Any]) -> Heartbeat:
    names = ("task", "tick_at", "started_at", "finished_at", "holder", "token", "summary")
    return Heartbeat(**{name: row[name] for name in names}, unpolled=Unpolled.from_summary(row["summary"]))


def _cluster(row: Mapping[Any, Any]) -> ClusterMirror:
    return ClusterMirror(
        id=row["id"], name=row["name"], uid=row["uid"], generation=row["generation"], guard=guard_from(row)
    )


def _node(row: Mapping[Any, Any]) -> NodeMirror:
    values = {name: row[name] for name in _PLAIN_NODE_FIELDS}
    return NodeMirror(**values, state=state_from(row) if row["node_id"] is not None else None)
