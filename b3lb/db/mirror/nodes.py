"""What is mirrored of clusters and nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from b3lb.db.node_states import guard_columns, guard_from, state_columns, state_from
from b3lb.db.tables import cluster_states, clusters, meetings, node_states, nodes
from b3lb.health import GuardState, NodeState


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

    ``blocked_reason`` and ``blocked_message`` are its own, or else its cluster's.
    ``desired_state`` is Active, Cordoned, Draining or Disabled. ``state`` is None before the first poll and may belong
    to an older ``revision``; ``load`` and ``written_at`` go with it. ``has_meetings`` says of a node that is not
    polled, for it is blocked or Disabled, that meetings of it have not ended; of others it is not asked.
    ``duplicate_of`` is the name of the older node that is the same server, None for a server of its own.
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
    has_meetings: bool = False
    duplicate_of: str | None = None

    @property
    def current(self) -> NodeState | None:
        """The state if it was found with the present configuration, else None."""
        return self.state if self.state is not None and self.state.revision == self.revision else None


_CLUSTERS = (
    sa.select(clusters.c.id, clusters.c.name, clusters.c.uid, clusters.c.generation, *guard_columns)
    .select_from(clusters.outerjoin(cluster_states, cluster_states.c.cluster_id == clusters.c.id))
    .where(clusters.c.namespace == sa.bindparam("namespace"), clusters.c.deleted_at.is_(None))
    .order_by(clusters.c.name)
)
# What is wrong with the node itself goes before what is wrong with its cluster.
_by_cluster = nodes.c.blocked_reason.is_(None)
_blocked = [
    sa.case((_by_cluster, clusters.c[name]), else_=nodes.c[name]).label(name)
    for name in ("blocked_reason", "blocked_message")
]
_not_polled = sa.or_(
    nodes.c.blocked_reason.is_not(None), clusters.c.blocked_reason.is_not(None), nodes.c.state == "Disabled"
)
_meetings_of_node = sa.exists().where(meetings.c.node_id == nodes.c.id, meetings.c.ended_at.is_(None))
_older = nodes.alias("older")
# What the jobs will conclude when they poll next; the status need not wait for it.
_is_duplicate = sa.and_(
    _older.c.id == node_states.c.duplicate_of,
    _older.c.revision == node_states.c.duplicate_of_revision,
    node_states.c.revision == nodes.c.revision,
    _older.c.deleted_at.is_(None),
    _older.c.blocked_reason.is_(None),
    _older.c.state != "Disabled",
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
        *_blocked,
        node_states.c.node_id,
        node_states.c.load,
        node_states.c.written_at,
        sa.case((_not_polled, _meetings_of_node), else_=sa.false()).label("has_meetings"),
        _older.c.name.label("older"),
        *state_columns,
    )
    .select_from(
        nodes.outerjoin(clusters, clusters.c.id == nodes.c.cluster_id)
        .outerjoin(node_states, node_states.c.node_id == nodes.c.id)
        .outerjoin(_older, _is_duplicate)
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
    "has_meetings",
)


def read_clusters(connection: sa.Connection, namespace: str) -> dict[str, ClusterMirror]:
    """Return the clusters by name: one statement."""
    rows = connection.execute(_CLUSTERS, {"namespace": namespace}).mappings()
    return {row["name"]: _cluster(row) for row in rows}


def read_nodes(connection: sa.Connection, namespace: str) -> dict[str, NodeMirror]:
    """Return the nodes by name: one statement."""
    rows = connection.execute(_NODES, {"namespace": namespace}).mappings()
    return {row["name"]: _node(row) for row in rows}


def _cluster(row: Mapping[Any, Any]) -> ClusterMirror:
    return ClusterMirror(
        id=row["id"], name=row["name"], uid=row["uid"], generation=row["generation"], guard=guard_from(row)
    )


def _node(row: Mapping[Any, Any]) -> NodeMirror:
    values = {name: row[name] for name in _PLAIN_NODE_FIELDS}
    state = state_from(row) if row["node_id"] is not None else None
    return NodeMirror(**values, state=state, duplicate_of=row["older"])
