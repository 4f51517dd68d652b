"""Writes the operator's view of the custom resources into the configuration tables, as sets.

A transaction-level advisory lock per namespace keeps two operators (a hand-over) from writing at the same time. Each
`apply_*` takes at most five statements whatever the number of rows, and writes only rows that differ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.crypto import Encrypted, KeyRing
from b3lb.db.planning import (
    Difference,
    Plan,
    Write,
    block_duplicates,
    cleaned,
    compare_clusters,
    compare_queues,
    node_comparison,
    normalized_url,
    plan,
    resolve_clusters,
    secret_context,
)
from b3lb.db.rows import Action, Changed, ClusterRow, Existing, Kind, NodeRow, QueueRow, Row
from b3lb.db.statements import dump, recordset
from b3lb.db.tables import clusters, nodes, queues
from b3lb.health import GuardPolicy
from b3lb.load import LoadFormula

__all__ = [
    "Action",
    "Changed",
    "ClusterRow",
    "Difference",
    "Existing",
    "Kind",
    "NodeRow",
    "Plan",
    "QueueRow",
    "Write",
    "apply_clusters",
    "apply_nodes",
    "apply_queues",
    "block_duplicates",
    "delete_by_uid",
    "node_comparison",
    "normalized_url",
    "plan",
    "resolve_clusters",
    "secret_context",
]

_TABLES = {Kind.CLUSTER: clusters, Kind.NODE: nodes, Kind.QUEUE: queues}

_LOCK = sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(sa.bindparam("lock_name"), 0)))


def _wanted(table: sa.Table) -> sa.ColumnElement[bool]:
    """Return the condition for rows of a namespace: those with the given names, or all for a null."""
    names = sa.bindparam("names", type_=postgresql.ARRAY(sa.Text))
    return sa.and_(
        table.c.namespace == sa.bindparam("namespace"),
        sa.or_(names.is_(None), table.c.name == sa.any_(names)),
    )


_SELECT = {
    Kind.CLUSTER: sa.select(clusters).where(_wanted(clusters)).order_by(clusters.c.id),
    Kind.QUEUE: sa.select(queues).where(_wanted(queues)).order_by(queues.c.id),
    Kind.NODE: (
        sa.select(nodes, clusters.c.name.label("cluster"))
        .select_from(nodes.outerjoin(clusters, clusters.c.id == nodes.c.cluster_id))
        .where(_wanted(nodes))
        .order_by(nodes.c.id)
    ),
}

_LIVE_CLUSTERS = sa.select(clusters.c.name, clusters.c.id).where(
    clusters.c.namespace == sa.bindparam("namespace"), clusters.c.deleted_at.is_(None)
)


def _upsert(table: sa.Table) -> sa.Executable:
    """Return the statement that inserts, updates and revives the rows of one namespace."""
    names = [column.name for column in table.c if column.name not in {"id", "namespace", "deleted_at"}]
    records = recordset("rows", [table.c[name] for name in names])
    insert = postgresql.insert(table).from_select(
        ["namespace", *names],
        sa.select(sa.bindparam("namespace", type_=sa.Text), *[records.c[name] for name in names]).order_by(
            records.c.name
        ),
    )
    values: dict[str, Any] = {name: insert.excluded[name] for name in names if name != "name"}
    if "revision" in values:
        values["revision"] = sa.func.greatest(table.c.revision, insert.excluded.revision)
    return insert.on_conflict_do_update(
        index_elements=[table.c.namespace, table.c.name], set_={**values, "deleted_at": None}
    ).returning(table.c.id, table.c.name)


_UPSERT = {kind: _upsert(table) for kind, table in _TABLES.items()}


def _soft_delete(table: sa.Table, column: sa.Column[Any], parameter: str) -> sa.Executable:
    returned = [table.c.id, table.c.name]
    return (
        sa.update(table)
        .where(
            table.c.namespace == sa.bindparam("row_namespace"),
            column == sa.any_(sa.bindparam(parameter, type_=postgresql.ARRAY(column.type))),
            table.c.deleted_at.is_(None),
        )
        .values(deleted_at=sa.func.clock_timestamp())
        .returning(*returned)
    )


_DELETE = {kind: _soft_delete(table, table.c.id, "ids") for kind, table in _TABLES.items()}
_DELETE_BY_UID = {kind: _soft_delete(table, table.c.uid, "uids") for kind, table in _TABLES.items()}

_BUMP = (
    sa.update(nodes)
    .where(
        nodes.c.cluster_id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.BigInteger))),
        nodes.c.deleted_at.is_(None),
    )
    .values(revision=nodes.c.revision + 1)
    .returning(nodes.c.id, nodes.c.name, nodes.c.revision)
)


def apply_clusters(
    connection: sa.Connection, namespace: str, desired: Sequence[ClusterRow], *, complete: bool
) -> list[Changed]:
    """Make the clusters of ``namespace`` equal to ``desired``; return what was written.

    With ``complete`` the clusters that are not in ``desired`` are soft-deleted. A new checksum algorithm, CA or time
    limit gives every node of the cluster a new revision; those nodes are in the answer, too.
    """
    existing = _existing(connection, Kind.CLUSTER, namespace, None if complete else [row.name for row in desired])
    planned = plan(
        [cleaned(row) for row in desired],
        [_existing_cluster(row) for row in existing],
        complete=complete,
        compare=compare_clusters,
    )
    changes = _execute(connection, Kind.CLUSTER, namespace, planned, [_cluster_record(w.row) for w in planned.writes])
    affected = [write.existing.id for write in planned.writes if write.repoll and write.existing is not None]
    if affected:
        rows = connection.execute(_BUMP, {"ids": affected})
        changes += [
            Changed(Kind.NODE, row.id, row.name, Action.UPDATE, revision=row.revision, repoll=True) for row in rows
        ]
    return changes


def apply_queues(
    connection: sa.Connection, namespace: str, desired: Sequence[QueueRow], *, complete: bool
) -> list[Changed]:
    """Make the queues of ``namespace`` equal to ``desired``; return what was written."""
    existing = _existing(connection, Kind.QUEUE, namespace, None if complete else [row.name for row in desired])
    planned = plan(
        [cleaned(row) for row in desired],
        [_existing_queue(row) for row in existing],
        complete=complete,
        compare=compare_queues,
    )
    return _execute(connection, Kind.QUEUE, namespace, planned, [_queue_record(w.row) for w in planned.writes])


def apply_nodes(
    connection: sa.Connection, namespace: str, desired: Sequence[NodeRow], *, complete: bool, keys: KeyRing
) -> list[Changed]:
    """Make the nodes of ``namespace`` equal to ``desired``; return what was written.

    Call it after `apply_clusters`: a node whose cluster is not in the database is blocked with ClusterNotFound. Secrets
    are encrypted here; one that did not change is encrypted again only to bring it under the primary key.
    """
    existing = _existing(connection, Kind.NODE, namespace, None if complete else [row.name for row in desired])
    live = {row.name: row.id for row in connection.execute(_LIVE_CLUSTERS, {"namespace": namespace})}
    planned = plan(
        [cleaned(row) for row in resolve_clusters(desired, live)],
        [_existing_node(row) for row in existing],
        complete=complete,
        compare=node_comparison(namespace, keys),
    )
    records = [_node_record(write, live, namespace, keys) for write in planned.writes]
    return _execute(connection, Kind.NODE, namespace, planned, records)


def delete_by_uid(connection: sa.Connection, kind: Kind, namespace: str, uids: Collection[str]) -> list[Changed]:
    """Soft-delete single rows whose custom resources are gone; a re-created object's row, with its new uid, stays."""
    rows = connection.execute(_DELETE_BY_UID[kind], {"row_namespace": namespace, "uids": list(uids)})
    return [Changed(kind, row.id, row.name, Action.DELETE) for row in rows]


def _existing(
    connection: sa.Connection, kind: Kind, namespace: str, names: Sequence[str] | None
) -> Sequence[Mapping[Any, Any]]:
    connection.execute(_LOCK, {"lock_name": f"b3lb/configuration/{namespace}"})
    parameters = {"namespace": namespace, "names": None if names is None else list(names)}
    return connection.execute(_SELECT[kind], parameters).mappings().all()


def _execute(
    connection: sa.Connection, kind: Kind, namespace: str, planned: Plan[Row], records: list[dict[str, Any]]
) -> list[Changed]:
    changes = []
    if records:
        rows = connection.execute(_UPSERT[kind], {"namespace": namespace, "rows": dump(records)})
        ids = {row.name: row.id for row in rows}
        for write in planned.writes:
            repoll = write.repoll and kind is Kind.NODE
            name = write.row.name
            changes.append(Changed(kind, ids[name], name, write.action, revision=write.revision, repoll=repoll))
    if planned.deletes:
        parameters = {"row_namespace": namespace, "ids": [item.id for item in planned.deletes]}
        deleted = connection.execute(_DELETE[kind], parameters)
        changes += [Changed(kind, row.id, row.name, Action.DELETE) for row in deleted]
    return changes


def _cluster_record(row: ClusterRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "uid": row.uid,
        "generation": row.generation,
        **dataclasses.asdict(row.load),
        "checksum_algorithm": row.checksum_algorithm,
        "timeout_seconds": row.timeout_seconds,
        "unhealthy_after": row.unhealthy_after,
        "healthy_after": row.healthy_after,
        **{f"guard_{name}": value for name, value in dataclasses.asdict(row.guard).items()},
        "ca_certificates": row.ca_certificates,
    }


def _existing_cluster(row: Mapping[Any, Any]) -> Existing[ClusterRow]:
    cluster = ClusterRow(
        name=row["name"],
        uid=row["uid"],
        generation=row["generation"],
        load=LoadFormula(**{item.name: row[item.name] for item in dataclasses.fields(LoadFormula)}),
        checksum_algorithm=row["checksum_algorithm"],
        timeout_seconds=row["timeout_seconds"],
        unhealthy_after=row["unhealthy_after"],
        healthy_after=row["healthy_after"],
        guard=GuardPolicy(**{item.name: row[f"guard_{item.name}"] for item in dataclasses.fields(GuardPolicy)}),
        ca_certificates=row["ca_certificates"],
    )
    return Existing(id=row["id"], row=cluster, deleted=row["deleted_at"] is not None)


def _queue_record(row: QueueRow) -> dict[str, Any]:
    return {item.name: getattr(row, item.name) for item in dataclasses.fields(QueueRow)}


def _existing_queue(row: Mapping[Any, Any]) -> Existing[QueueRow]:
    values = {item.name: row[item.name] for item in dataclasses.fields(QueueRow)}
    queue = QueueRow(**{**values, "tasks": tuple(row["tasks"])})
    return Existing(id=row["id"], row=queue, deleted=row["deleted_at"] is not None)


_STORED_NODE_FIELDS = [item.name for item in dataclasses.fields(NodeRow) if item.name not in {"cluster", "secret"}]


def _node_record(
    write: Write[NodeRow], clusters_by_name: Mapping[str, int], namespace: str, keys: KeyRing
) -> dict[str, Any]:
    row = write.row
    sealed = write.existing.secret if write.existing is not None else None
    if row.secret is None:
        sealed = None
    elif write.seal:
        sealed = keys.encrypt(row.secret, context=secret_context(namespace, row.name))
    return {
        **{name: getattr(row, name) for name in _STORED_NODE_FIELDS},
        "revision": write.revision,
        "cluster_id": None if row.cluster is None else clusters_by_name[row.cluster],
        "secret_ciphertext": sealed and sealed.ciphertext,
        "secret_key_id": sealed and sealed.key_id,
        "secret_hash": sealed and sealed.hash,
    }


def _existing_node(row: Mapping[Any, Any]) -> Existing[NodeRow]:
    secret = None
    if row["secret_ciphertext"] is not None:
        secret = Encrypted(ciphertext=row["secret_ciphertext"], key_id=row["secret_key_id"], hash=row["secret_hash"])
    values = {name: row[name] for name in _STORED_NODE_FIELDS}
    node = NodeRow(**values, cluster=row["cluster"], secret=None)
    return Existing(
        id=row["id"], row=node, deleted=row["deleted_at"] is not None, revision=row["revision"], secret=secret
    )
