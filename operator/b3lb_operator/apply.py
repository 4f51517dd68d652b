"""Stores a resolved configuration: one transaction, a constant number of statements."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.crypto import KeyRing
from b3lb.db.configuration import Changed, ClusterRow, Kind, apply_clusters, apply_nodes, apply_queues, delete_by_uid
from b3lb.db.tables import clusters
from b3lb_operator.resolve import Configuration

_CERTIFICATES = sa.select(clusters.c.name, clusters.c.ca_certificates).where(
    clusters.c.namespace == sa.bindparam("namespace"),
    clusters.c.name == sa.any_(sa.bindparam("names", type_=postgresql.ARRAY(sa.Text))),
    clusters.c.deleted_at.is_(None),
)


def store_configuration(
    connection: sa.Connection,
    namespace: str,
    configuration: Configuration,
    *,
    complete: bool,
    keys: KeyRing,
    gone: Mapping[Kind, Collection[str]],
) -> list[Changed]:
    """Make the configuration tables equal to ``configuration``; return what was written.

    Args:
        connection: Within a transaction.
        namespace: The namespace of the custom resources.
        configuration: The wanted rows.
        complete: Whether rows that are not wanted are to be soft-deleted.
        keys: What encrypts the nodes' secrets.
        gone: Uids of deleted objects, whose rows are to be soft-deleted.
    """
    changes: list[Changed] = []
    for kind, uids in gone.items():
        if uids:
            changes += delete_by_uid(connection, kind, namespace, uids)
    wanted = _with_kept_certificates(connection, namespace, configuration)
    if complete or wanted:
        changes += apply_clusters(connection, namespace, wanted, complete=complete)
    if complete or configuration.nodes:
        changes += apply_nodes(connection, namespace, configuration.nodes, complete=complete, keys=keys)
    if complete or configuration.queues:
        changes += apply_queues(connection, namespace, configuration.queues, complete=complete)
    return changes


def _with_kept_certificates(
    connection: sa.Connection, namespace: str, configuration: Configuration
) -> list[ClusterRow]:
    """Return the clusters with the certificates that the database has where none can be had now.

    Else a CA Secret that is replaced (deleted and created again) would fail every node of its cluster.
    """
    kept = {row.name for row in configuration.clusters if row.name in configuration.blocks}
    if not kept:
        return configuration.clusters
    found = connection.execute(_CERTIFICATES, {"namespace": namespace, "names": sorted(kept)})
    certificates = {row.name: row.ca_certificates for row in found}
    return [
        dataclasses.replace(row, ca_certificates=certificates.get(row.name)) if row.name in kept else row
        for row in configuration.clusters
    ]
