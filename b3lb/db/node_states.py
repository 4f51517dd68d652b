"""What a poll of the nodes reads and writes: each function is one statement whatever the number of nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.statements import differs, dump, recordset
from b3lb.db.tables import cluster_states, clusters, node_states, nodes
from b3lb.health import GuardPolicy, GuardState, HealthPolicy, LoadReason, NodeState, Reason
from b3lb.load import LoadFormula

CHANNEL = "b3lb"
"""The channel of NOTIFY; the payload is the namespace."""

StateRow: TypeAlias = tuple[int, NodeState, float]
"""Node's ID, its state, its load."""

GuardRow: TypeAlias = tuple[int, GuardState]
"""Cluster's ID, its mass-failure guard."""


@dataclass(frozen=True, slots=True)
class NodePoll:
    """Everything that polling one node takes: its configuration, its cluster's policies and its last state.

    ``state`` and ``load`` are None before the first poll; ``state`` may belong to an older revision.
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

_first_of_cluster = sa.func.row_number().over(partition_by=clusters.c.id, order_by=nodes.c.id) == 1

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
        *guard_columns,
        node_states.c.node_id.label("state_node_id"),
        node_states.c.load,
        *state_columns,
    )
    .select_from(
        nodes.join(clusters, clusters.c.id == nodes.c.cluster_id)
        .outerjoin(cluster_states, cluster_states.c.cluster_id == clusters.c.id)
        .outerjoin(node_states, node_states.c.node_id == nodes.c.id)
    )
    .where(
        nodes.c.namespace == sa.bindparam("namespace"),
        nodes.c.deleted_at.is_(None),
        nodes.c.blocked_reason.is_(None),
        nodes.c.state != "Disabled",
    )
    .order_by(nodes.c.id)
)


def load_polls(connection: sa.Connection, namespace: str, *, tick_seconds: int = 15) -> list[NodePoll]:
    """Return every node of ``namespace`` that is to be polled, by ID: one statement.

    Deleted, blocked and Disabled nodes are left out; back-off is the caller's (`b3lb.health.is_due`).

    Args:
        connection: Within a transaction.
        namespace: The namespace of the custom resources.
        tick_seconds: Length of a tick, for the health policy's back-off.
    """
    shared: dict[int, _Cluster] = {}
    polls = []
    for row in connection.execute(_LOAD_POLLS, {"namespace": namespace}).mappings():
        cluster = shared.get(row["cluster_id"])
        if cluster is None:
            cluster = shared[row["cluster_id"]] = _cluster_from(row, tick_seconds)
        polls.append(_poll_from(row, cluster))
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
    )


def _poll_from(row: Mapping[Any, Any], cluster: _Cluster) -> NodePoll:
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


_VALUES = [*STATE_FIELDS, "load"]
_records = recordset("rows", [node_states.c.node_id, *[node_states.c[name] for name in _VALUES]])
_INSERT_STATES = postgresql.insert(node_states).from_select(
    ["node_id", *_VALUES, "written_at"],
    sa.select(_records.c.node_id, *[_records.c[name] for name in _VALUES], sa.func.clock_timestamp())
    .select_from(_records.join(nodes, nodes.c.id == _records.c.node_id))
    # A node that was changed or deleted while it was polled is not judged by what the old configuration saw.
    .where(nodes.c.revision == _records.c.revision, nodes.c.deleted_at.is_(None))
    .order_by(_records.c.node_id),
)
_new_values = {**{name: _INSERT_STATES.excluded[name] for name in _VALUES}, "written_at": sa.func.clock_timestamp()}

_WRITE_STATES = _INSERT_STATES.on_conflict_do_update(
    index_elements=[node_states.c.node_id],
    set_=_new_values,
    where=sa.and_(
        node_states.c.revision <= _INSERT_STATES.excluded.revision,
        differs(node_states, _INSERT_STATES.excluded, _VALUES),
    ),
).returning(node_states.c.node_id)

_FIRST_STATES = _INSERT_STATES.on_conflict_do_update(
    index_elements=[node_states.c.node_id],
    set_=_new_values,
    where=node_states.c.revision < _INSERT_STATES.excluded.revision,
).returning(node_states.c.node_id)

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

    A state is stored only if its node still has that revision and is not deleted; equal rows are not written again.
    One statement for all states and one for all guards, none for an empty sequence.
    """
    written = _store(connection, _WRITE_STATES, _state_records(rows))
    return written + _store(connection, _WRITE_GUARDS, [_guard_record(*row) for row in guards])


def insert_first_states(connection: sa.Connection, rows: Sequence[StateRow]) -> int:
    """Store the operator's probe as the first state of a node's revision; return how many rows were written.

    Once a poll has judged that revision, the probe is late and nothing is written: the jobs own the states.
    """
    return _store(connection, _FIRST_STATES, _state_records(rows))


def notify(connection: sa.Connection, namespace: str) -> None:
    """Tell listeners, when the transaction commits, that something in ``namespace`` changed."""
    connection.execute(sa.select(sa.func.pg_notify(CHANNEL, sa.bindparam("namespace"))), {"namespace": namespace})


def _store(connection: sa.Connection, statement: sa.Executable, records: list[dict[str, Any]]) -> int:
    if not records:
        return 0
    return len(connection.execute(statement, {"rows": dump(records)}).all())


def _state_records(rows: Sequence[StateRow]) -> list[dict[str, Any]]:
    return [{"node_id": node_id, "load": load, **_fields(state)} for node_id, state, load in rows]


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
