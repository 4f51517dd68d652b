"""Clusters: their policies, and what of them gives their nodes a new revision."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.crypto import KeyRing
from b3lb.db.configuration.store import execute_plan, existing_rows, sealed_columns, sealed_from, store_resealed
from b3lb.db.node_states import keep_states
from b3lb.db.planning import Write, cleaned, cluster_comparison, plan, reseal, upload_secret_context
from b3lb.db.refusals import Refused
from b3lb.db.rows import Action, Changed, ClusterRow, Existing, Kind
from b3lb.db.tables import nodes
from b3lb.health import GuardPolicy
from b3lb.load import LoadFormula

_BUMP = (
    sa.update(nodes)
    .where(
        nodes.c.cluster_id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.BigInteger))),
        nodes.c.deleted_at.is_(None),
    )
    .values(revision=nodes.c.revision + 1)
    .returning(nodes.c.id, nodes.c.name, nodes.c.revision, nodes.c.cluster_id)
)

_PLAIN_FIELDS = [item.name for item in dataclasses.fields(ClusterRow) if item.name not in {"load", "guard", "secret"}]


def apply_clusters(
    connection: sa.Connection,
    namespace: str,
    desired: Sequence[ClusterRow],
    *,
    complete: bool,
    keys: KeyRing,
    refused: list[Refused] | None = None,
) -> list[Changed]:
    """Make the clusters of ``namespace`` equal to ``desired``; return what was written.

    With ``complete`` the clusters that are not in ``desired`` are soft-deleted. A new checksum algorithm, CA or time
    limit, or the end of a block, gives every node of the cluster a new revision; those nodes are in the answer, too.
    Those that are Ready stay so, except after a block. Upload secrets are encrypted here; when everything is compared,
    those of deleted clusters are brought under the primary key, too.
    """
    rows = existing_rows(connection, Kind.CLUSTER, namespace, desired, complete=complete)
    existing = [_existing(row) for row in rows]
    planned = plan(
        [cleaned(row) for row in desired],
        existing,
        complete=complete,
        compare=cluster_comparison(namespace, keys),
    )
    if complete:
        live = {row.name for row in desired}
        deleted = [item for item in existing if item.row.name not in live]
        resealed = reseal(deleted, keys, context=partial(upload_secret_context, namespace))
        store_resealed(connection, Kind.CLUSTER, resealed)
    records = [_record(write, namespace, keys) for write in planned.writes]
    changes = execute_plan(connection, Kind.CLUSTER, namespace, planned, records, refused=refused)
    stored = {change.name for change in changes}
    anew = {
        write.existing.id: write.anew
        for write in planned.writes
        if write.repoll and write.existing is not None and write.row.name in stored
    }
    return changes + _bump(connection, anew)


def _bump(connection: sa.Connection, anew: Mapping[int, bool]) -> list[Changed]:
    """Give the nodes of clusters, by ID, a new revision; ``anew`` says whether their health is judged anew then."""
    if not anew:
        return []
    rows = connection.execute(_BUMP, {"ids": list(anew)}).all()
    keep_states(connection, [row.id for row in rows if not anew[row.cluster_id]])
    return [Changed(Kind.NODE, row.id, row.name, Action.UPDATE, revision=row.revision, repoll=True) for row in rows]


def _record(write: Write[ClusterRow], namespace: str, keys: KeyRing) -> dict[str, Any]:
    row = write.row
    return {
        **{name: getattr(row, name) for name in _PLAIN_FIELDS},
        **dataclasses.asdict(row.load),
        **{f"guard_{name}": value for name, value in dataclasses.asdict(row.guard).items()},
        **sealed_columns(write, keys, context=upload_secret_context(namespace, row.name)),
    }


def _existing(row: Mapping[Any, Any]) -> Existing[ClusterRow]:
    cluster = ClusterRow(
        **{name: row[name] for name in _PLAIN_FIELDS},
        load=LoadFormula(**{item.name: row[item.name] for item in dataclasses.fields(LoadFormula)}),
        guard=GuardPolicy(**{item.name: row[f"guard_{item.name}"] for item in dataclasses.fields(GuardPolicy)}),
    )
    return Existing(id=row["id"], row=cluster, deleted=row["deleted_at"] is not None, secret=sealed_from(row))
