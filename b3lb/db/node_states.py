"""What a poll of the nodes reads and writes: each function is one statement whatever the number of nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.statements import differs, dump, recordset
from b3lb.db.tables import cluster_states, clusters, heartbeats, node_states, nodes
from b3lb.db.unpolled import KEY as UNPOLLED
from b3lb.db.unpolled import Unpolled
from b3lb.health import GuardPolicy, GuardState, HealthPolicy, LoadReason, NodeState, Reason
from b3lb.load import LoadFormula
from b3lb.tasks import CHECK_NODES

CHANNEL = "b3lb"
"""The channel of NOTIFY; the payload is the namespace."""

StateRow: TypeAlias = tuple[int, NodeState, float, datetime | None]
"""Node's ID, its state, its load, and when its last good poll was (None: never)."""

GuardRow: TypeAlias = tuple[int, GuardState]
"""Cluster's ID, its mass-failure guard."""


@dataclass(frozen=True, slots=True)
class NodePoll:
    """Everything that polling one node takes: its configuration, its cluster's policies and its last state.

    ``state`` and ``load`` are None before the first poll; ``state`` may belong to an older revision. ``seen_at`` is
    when the last good poll was, None if there was none. ``observed_at`` is when the last tick was due, None if there
    was none or it could not poll this node to the end. ``lost_meetings_seconds`` is how long meetings may be lost.
    """

    node_id: int
    cluster_id: int
    name: str
    revision: int
    api_url: str
    load_url: str
    secret_ciphertext: bytes = field(repr=False)
    secret_key_id: str
    algorithm: str
    ca_certificates: str | None = field(repr=False)
    timeout_seconds: int
    weight_percent: int
    formula: LoadFormula
    health: HealthPolicy
    guard_policy: GuardPolicy
    guard: GuardState
    state: NodeState | None
    load: float | None
    seen_at: datetime | None
    observed_at: datetime | None
    lost_meetings_seconds: int


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What the nodes of one cluster share in one round."""

    algorithm: str
    ca_certificates: str | None
    timeout_seconds: int
    formula: LoadFormula
    health: HealthPolicy
    guard_policy: GuardPolicy
    guard: GuardState
    lost_meetings_seconds: int


STATE_FIELDS = tuple(item.name for item in dataclasses.fields(NodeState))

state_columns = [node_states.c[name].label(f"state_{name}") for name in STATE_FIELDS]
"""The columns of a node's state, for a select that outer-joins ``node_states``; read with `state_from`."""

guard_columns = [
    cluster_states.c.mass_failure_since,
    cluster_states.c.mass_failure_exhausted,
    cluster_states.c.failed,
    cluster_states.c.polled,
]
"""The columns of a cluster's guard, for a select that outer-joins ``cluster_states``; read with `guard_from`."""

seen_at = sa.case(
    (node_states.c.failures == 0, sa.func.greatest(node_states.c.seen_at, heartbeats.c.tick_at)),
    else_=node_states.c.seen_at,
)
"""When a node's last good poll was; a select with it outer-joins ``node_states`` and, by `beats`, ``heartbeats``.

A row is written only when something else in it changed; as long as it says that the last poll succeeded, so did those
up to the last tick.
"""

beats = sa.and_(heartbeats.c.namespace == nodes.c.namespace, heartbeats.c.task == CHECK_NODES)
"""The condition that joins the last tick's heartbeat to ``nodes``."""

_first_of_cluster = sa.func.row_number().over(partition_by=clusters.c.id, order_by=nodes.c.id) == 1

_first_of_all = sa.func.row_number().over(order_by=nodes.c.id) == 1

_LOAD_POLLS = (
    sa.select(
        nodes.c.id.label("node_id"),
        nodes.c.cluster_id,
        nodes.c.name,
        nodes.c.revision,
        nodes.c.api_url,
        nodes.c.load_url,
        nodes.c.secret_ciphertext,
        nodes.c.secret_key_id,
        nodes.c.weight_percent,
        clusters.c.checksum_algorithm,
        # A CA bundle has up to some 100 KB: once per cluster, not once per node.
        sa.case((_first_of_cluster, clusters.c.ca_certificates)).label("ca_certificates"),
        clusters.c.timeout_seconds,
        clusters.c.attendee_factor,
        clusters.c.meeting_factor,
        clusters.c.cpu_terms,
        clusters.c.cpu_maximum,
        clusters.c.unhealthy_after,
        clusters.c.healthy_after,
        clusters.c.guard_share_percent,
        clusters.c.guard_minimum_nodes,
        clusters.c.guard_maximum_seconds,
        clusters.c.lost_meetings_seconds,
        *guard_columns,
        node_states.c.node_id.label("state_node_id"),
        node_states.c.load,
        seen_at.label("seen_at"),
        heartbeats.c.tick_at,
        sa.case((_first_of_all, heartbeats.c.summary[UNPOLLED])).label(UNPOLLED),
        *state_columns,
    )
    .select_from(
        nodes.join(clusters, clusters.c.id == nodes.c.cluster_id)
        .outerjoin(cluster_states, cluster_states.c.cluster_id == clusters.c.id)
        .outerjoin(node_states, node_states.c.node_id == nodes.c.id)
        .outerjoin(heartbeats, beats)
    )
    .where(
        nodes.c.namespace == sa.bindparam("namespace"),
        nodes.c.deleted_at.is_(None),
        nodes.c.blocked_reason.is_(None),
        clusters.c.blocked_reason.is_(None),
        nodes.c.state != "Disabled",
    )
    .order_by(nodes.c.id)
)


def load_polls(connection: sa.Connection, namespace: str, *, tick_seconds: int = 15) -> list[NodePoll]:
    """Return every node of ``namespace`` that is to be polled, by ID: one statement.

    Deleted and Disabled nodes, blocked ones and those of a blocked cluster are left out; back-off is the caller's
    (`b3lb.health.is_due`).

    Args:
        connection: Within a transaction.
        namespace: The namespace of the custom resources.
        tick_seconds: Length of a tick, for the health policy's back-off.
    """
    shared: dict[int, _Cluster] = {}
    polls: list[NodePoll] = []
    unpolled = Unpolled()
    for row in connection.execute(_LOAD_POLLS, {"namespace": namespace}).mappings():
        cluster = shared.get(row["cluster_id"])
        if cluster is None:
            cluster = shared[row["cluster_id"]] = _cluster_from(row, tick_seconds)
        if not polls:
            unpolled = Unpolled.from_summary({UNPOLLED: row[UNPOLLED] or {}})
        polls.append(_poll_from(row, cluster, unpolled))
    return polls


def _cluster_from(row: Mapping[Any, Any], tick_seconds: int) -> _Cluster:
    return _Cluster(
        algorithm=row["checksum_algorithm"],
        ca_certificates=row["ca_certificates"],
        timeout_seconds=row["timeout_seconds"],
        formula=LoadFormula(
            attendee_factor=row["attendee_factor"],
            meeting_factor=row["meeting_factor"],
            cpu_terms=row["cpu_terms"],
            cpu_maximum=row["cpu_maximum"],
        ),
        health=HealthPolicy(
            unhealthy_after=row["unhealthy_after"], healthy_after=row["healthy_after"], tick_seconds=tick_seconds
        ),
        guard_policy=GuardPolicy(
            share_percent=row["guard_share_percent"],
            minimum_nodes=row["guard_minimum_nodes"],
            maximum_seconds=row["guard_maximum_seconds"],
        ),
        guard=guard_from(row),
        lost_meetings_seconds=row["lost_meetings_seconds"],
    )


def _poll_from(row: Mapping[Any, Any], cluster: _Cluster, unpolled: Unpolled) -> NodePoll:
    return NodePoll(
        node_id=row["node_id"],
        cluster_id=row["cluster_id"],
        name=row["name"],
        revision=row["revision"],
        api_url=row["api_url"],
        load_url=row["load_url"],
        secret_ciphertext=row["secret_ciphertext"],
        secret_key_id=row["secret_key_id"],
        algorithm=cluster.algorithm,
        ca_certificates=cluster.ca_certificates,
        timeout_seconds=cluster.timeout_seconds,
        weight_percent=row["weight_percent"],
        formula=cluster.formula,
        health=cluster.health,
        guard_policy=cluster.guard_policy,
        guard=cluster.guard,
        state=state_from(row) if row["state_node_id"] is not None else None,
        load=row["load"],
        seen_at=row["seen_at"],
        observed_at=row["tick_at"] if unpolled.observed(row["node_id"]) else None,
        lost_meetings_seconds=cluster.lost_meetings_seconds,
    )


def guard_from(row: Mapping[Any, Any]) -> GuardState:
    """Return the guard in a row with `guard_columns`; without a row in ``cluster_states`` it is at rest."""
    return GuardState(
        since=row["mass_failure_since"],
        exhausted=bool(row["mass_failure_exhausted"]),
        failed=row["failed"] or 0,
        polled=row["polled"] or 0,
    )


def state_from(row: Mapping[Any, Any]) -> NodeState:
    """Return the state in a row with `state_columns`."""
    values = {name: row[f"state_{name}"] for name in STATE_FIELDS}
    values["reason"] = _member(Reason, values["reason"], Reason.API_ERROR)
    values["load_reason"] = _member(LoadReason, values["load_reason"], LoadReason.UNREACHABLE)
    return NodeState(**values)


def _member(kind: Any, text: str, fallback: Any) -> Any:
    """Return the reason ``text``; a newer program may have written one that this one does not know."""
    return kind(text) if text in kind.__members__.values() else fallback


_JUDGED = [*STATE_FIELDS, "load"]
_VALUES = [*_JUDGED, "seen_at"]
_records = recordset("rows", [node_states.c.node_id, *[node_states.c[name] for name in _VALUES]])
_given_states = (
    sa.select(_records.c.node_id, *[_records.c[name] for name in _VALUES], sa.func.clock_timestamp())
    .select_from(_records.join(nodes, nodes.c.id == _records.c.node_id))
    # A node that was changed or deleted while it was polled is not judged by what the old configuration saw.
    .where(nodes.c.revision == _records.c.revision, nodes.c.deleted_at.is_(None))
    .order_by(_records.c.node_id)
)
# What fails while the guard holds may fail for a fault on our own side; the jobs decide of it.
_guarded = sa.exists().where(
    cluster_states.c.cluster_id == nodes.c.cluster_id, cluster_states.c.mass_failure_since.is_not(None)
)
_certain = sa.or_(_records.c.failures == 0, sa.not_(_guarded))


def _upsert_states(
    given: sa.Select[Any], where: Callable[[sa.ColumnCollection[str, Any]], sa.ColumnElement[bool]]
) -> sa.Executable:
    """Return the statement that stores the states ``given``; ``where`` says which present row is replaced by one."""
    insert = postgresql.insert(node_states).from_select(["node_id", *_VALUES, "written_at"], given)
    values = {**{name: insert.excluded[name] for name in _VALUES}, "written_at": sa.func.clock_timestamp()}
    return insert.on_conflict_do_update(
        index_elements=[node_states.c.node_id], set_=values, where=where(insert.excluded)
    ).returning(node_states.c.node_id)


_WRITE_STATES = _upsert_states(
    _given_states,
    lambda new: sa.and_(node_states.c.revision <= new.revision, differs(node_states, new, _JUDGED)),
)
_FIRST_STATES = _upsert_states(_given_states.where(_certain), lambda new: node_states.c.revision < new.revision)

# Locked in the order in which a tick writes them.
_kept = (
    sa.select(node_states.c.node_id, nodes.c.revision)
    .select_from(node_states.join(nodes, nodes.c.id == node_states.c.node_id))
    .where(
        node_states.c.node_id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.BigInteger))),
        node_states.c.ready,
        node_states.c.revision == nodes.c.revision - 1,
    )
    .order_by(node_states.c.node_id)
    .with_for_update(of=node_states)
    .cte("kept")
)
_KEEP_STATES = (
    sa.update(node_states)
    .where(node_states.c.node_id == _kept.c.node_id)
    .values(revision=_kept.c.revision)
    .returning(node_states.c.node_id)
)

_guard_names = ["mass_failure_since", "mass_failure_exhausted", "failed", "polled"]
_guard_records = recordset("rows", [cluster_states.c.cluster_id, *[cluster_states.c[name] for name in _guard_names]])
_INSERT_GUARDS = postgresql.insert(cluster_states).from_select(
    ["cluster_id", *_guard_names],
    sa.select(*_guard_records.c)
    .select_from(_guard_records.join(clusters, clusters.c.id == _guard_records.c.cluster_id))
    .order_by(_guard_records.c.cluster_id),
)
_WRITE_GUARDS = _INSERT_GUARDS.on_conflict_do_update(
    index_elements=[cluster_states.c.cluster_id],
    set_={name: _INSERT_GUARDS.excluded[name] for name in _guard_names},
    where=differs(cluster_states, _INSERT_GUARDS.excluded, _guard_names),
).returning(cluster_states.c.cluster_id)


def write_states(connection: sa.Connection, rows: Sequence[StateRow], guards: Sequence[GuardRow] = ()) -> int:
    """Store states and guards that changed; return how many rows were written.

    A state is stored only if its node still has that revision and is not deleted; equal rows are not written again, and
    a new time of the last good poll alone is no difference.
    One statement for all states and one for all guards, none for an empty sequence.
    """
    written = _store(connection, _WRITE_STATES, _state_records(rows))
    return written + _store(connection, _WRITE_GUARDS, [_guard_record(*row) for row in guards])


def insert_first_states(connection: sa.Connection, rows: Sequence[StateRow]) -> int:
    """Store the operator's probe as the first state of a node's revision; return how many rows were written.

    Once a poll has judged that revision, the probe is late and nothing is written: the jobs own the states. So it is
    with failures while the guard of the node's cluster holds.
    """
    return _store(connection, _FIRST_STATES, _state_records(rows))


def keep_states(connection: sa.Connection, node_ids: Collection[int]) -> int:
    """Let the nodes that are Ready stay so at the revision that they have just got; return how many there are.

    Call it, with the nodes' IDs, in the transaction in which their revisions grew by one. What is not Ready is left
    behind: the change may be what mends it, and then the first good poll is enough.
    """
    return len(connection.execute(_KEEP_STATES, {"ids": list(node_ids)}).all()) if node_ids else 0


def notify(connection: sa.Connection, namespace: str) -> None:
    """Tell listeners, when the transaction commits, that something in ``namespace`` changed."""
    connection.execute(sa.select(sa.func.pg_notify(CHANNEL, sa.bindparam("namespace"))), {"namespace": namespace})


def _store(connection: sa.Connection, statement: sa.Executable, records: list[dict[str, Any]]) -> int:
    if not records:
        return 0
    return len(connection.execute(statement, {"rows": dump(records)}).all())


def _state_records(rows: Sequence[StateRow]) -> list[dict[str, Any]]:
    return [
        {"node_id": node_id, "load": load, "seen_at": seen, **_fields(state)} for node_id, state, load, seen in rows
    ]


def _fields(state: NodeState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in STATE_FIELDS}


def _guard_record(cluster_id: int, guard: GuardState) -> dict[str, Any]:
    return {
        "cluster_id": cluster_id,
        "mass_failure_since": guard.since,
        "mass_failure_exhausted": guard.exhausted,
        "failed": guard.failed,
        "polled": guard.polled,
    }
