"""Nodes: what is polled, how, and with which secret."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from b3lb.crypto import KeyRing
from b3lb.db.configuration.store import (
    execute_plan,
    existing_rows,
    live_ids,
    sealed_columns,
    sealed_from,
    store_resealed,
)
from b3lb.db.node_states import keep_states
from b3lb.db.planning import Write, cleaned, node_comparison, plan, reseal, resolve_clusters, secret_context
from b3lb.db.refusals import Refused
from b3lb.db.rows import Changed, Existing, Kind, NodeRow

_PLAIN_FIELDS = [item.name for item in dataclasses.fields(NodeRow) if item.name not in {"cluster", "secret"}]


def apply_nodes(
    connection: sa.Connection,
    namespace: str,
    desired: Sequence[NodeRow],
    *,
    complete: bool,
    keys: KeyRing,
    refused: list[Refused] | None = None,
) -> list[Changed]:
    """Make the nodes of ``namespace`` equal to ``desired``; return what was written.

    Call it after `apply_clusters`: a node whose cluster is not in the database is blocked with ClusterNotFound. Secrets
    are encrypted here; one that did not change is encrypted again only to bring it under the primary key, as are, when
    everything is compared, those of deleted nodes. A node that is Ready stays so at its new revision, unless
    the change is one of its address or secret.
    """
    rows = existing_rows(connection, Kind.NODE, namespace, desired, complete=complete)
    existing = [_existing(row) for row in rows]
    clusters = live_ids(connection, Kind.CLUSTER, namespace)
    planned = plan(
        [cleaned(row) for row in resolve_clusters(desired, clusters)],
        existing,
        complete=complete,
        compare=node_comparison(namespace, keys),
    )
    records = [_record(write, clusters, namespace, keys) for write in planned.writes]
    changes = execute_plan(connection, Kind.NODE, namespace, planned, records, refused=refused)
    if complete:
        live = {row.name for row in desired}
        deleted = [item for item in existing if item.row.name not in live]
        resealed = reseal(deleted, keys, context=partial(secret_context, namespace))
        store_resealed(connection, Kind.NODE, resealed)
    kept = {write.row.name for write in planned.writes if write.repoll and not write.anew}
    keep_states(connection, [change.id for change in changes if change.name in kept])
    return changes


def _record(write: Write[NodeRow], clusters: Mapping[str, int], namespace: str, keys: KeyRing) -> dict[str, Any]:
    row = write.row
    return {
        **{name: getattr(row, name) for name in _PLAIN_FIELDS},
        "revision": write.revision,
        "cluster_id": None if row.cluster is None else clusters[row.cluster],
        **sealed_columns(write, keys, context=secret_context(namespace, row.name)),
    }


def _existing(row: Mapping[Any, Any]) -> Existing[NodeRow]:
    node = NodeRow(**{name: row[name] for name in _PLAIN_FIELDS}, cluster=row["owner"], secret=None)
    return Existing(
        id=row["id"],
        row=node,
        deleted=row["deleted_at"] is not None,
        revision=row["revision"],
        secret=sealed_from(row),
    )
