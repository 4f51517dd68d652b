"""Stores a resolved configuration: one transaction, a constant number of statements."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.crypto import KeyRing
from b3lb.db.configuration import (
    Changed,
    ClusterRow,
    Kind,
    Refused,
    apply_clusters,
    apply_nodes,
    apply_queues,
    apply_record_profiles,
    apply_secrets,
    apply_tenants,
    delete_by_uid,
)
from b3lb.db.tables import clusters
from b3lb.resources.conditions import NodeBlock
from b3lb_operator.manifests.facts import Block
from b3lb_operator.resolve import Configuration, without_spec

_CERTIFICATES = sa.select(clusters.c.uid, clusters.c.generation, clusters.c.ca_certificates).where(
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
    refused: list[Refused] | None = None,
) -> list[Changed]:
    """Make the configuration tables equal to ``configuration``; return what was written.

    Args:
        connection: Within a transaction.
        namespace: The namespace of the custom resources.
        configuration: The wanted rows.
        complete: Whether rows that are not wanted are to be soft-deleted.
        keys: What encrypts the secrets of clusters, nodes and tenants.
        gone: Uids of deleted objects, whose rows are to be soft-deleted.
        refused: Where rows go that the database does not take; all others are stored. With None, the first one raises.
            Of a cluster or a queue that is refused what was stored before stays; the other kinds are blocked.
    """
    changes: list[Changed] = []
    for kind, uids in gone.items():
        if uids:
            changes += delete_by_uid(connection, kind, namespace, uids)
    wanted = _with_kept_certificates(connection, namespace, configuration)
    if complete or wanted:
        changes += apply_clusters(connection, namespace, wanted, complete=complete, keys=keys, refused=refused)
    if complete or configuration.nodes:
        changes += apply_nodes(
            connection, namespace, configuration.nodes, complete=complete, keys=keys, refused=refused
        )
    if complete or configuration.queues:
        changes += apply_queues(connection, namespace, configuration.queues, complete=complete, refused=refused)
    if complete or configuration.tenants:
        changes += apply_tenants(connection, namespace, configuration.tenants, complete=complete, refused=refused)
    if complete or configuration.api_secrets:
        changes += apply_secrets(
            connection, namespace, configuration.api_secrets, complete=complete, keys=keys, refused=refused
        )
    if complete or configuration.record_profiles:
        changes += apply_record_profiles(
            connection, namespace, configuration.record_profiles, complete=complete, refused=refused
        )
    if refused:
        changes += _block_refused(connection, namespace, configuration, keys=keys, refused=refused)
    return changes


def refusal(rule: str) -> Block:
    """Return what an object says whose row breaks a rule of the database."""
    message = f"the database does not take this spec, by its rule {rule}; other objects are not affected"
    return Block(NodeBlock.DATABASE_REFUSED, message)


def _block_refused(
    connection: sa.Connection,
    namespace: str,
    configuration: Configuration,
    *,
    keys: KeyRing,
    refused: Collection[Refused],
) -> list[Changed]:
    """Store the refused objects without what their specs say, so that nobody works with what they said before."""
    blocks: dict[Kind, dict[str, Block]] = {kind: {} for kind in Kind}
    for item in refused:
        blocks[item.kind][item.name] = refusal(item.rule)
    rest = without_spec(configuration, blocks)
    # What is refused even so stays as it was; it was reported the first time.
    again: list[Refused] = []
    return [
        *apply_nodes(connection, namespace, rest.nodes, complete=False, keys=keys, refused=again),
        *apply_tenants(connection, namespace, rest.tenants, complete=False, refused=again),
        *apply_secrets(connection, namespace, rest.api_secrets, complete=False, keys=keys, refused=again),
        *apply_record_profiles(connection, namespace, rest.record_profiles, complete=False, refused=again),
    ]


def _with_kept_certificates(
    connection: sa.Connection, namespace: str, configuration: Configuration
) -> list[ClusterRow]:
    """Return the clusters with the certificates that the database has where none can be had now.

    Else a CA Secret that is replaced (deleted and created again) would take every node of its cluster out of service.
    They are kept for the very spec only with which they came: another one may ask for another authority.
    """
    blocked = {row.name for row in configuration.clusters if row.blocked_reason is not None}
    if not blocked:
        return configuration.clusters
    found = connection.execute(_CERTIFICATES, {"namespace": namespace, "names": sorted(blocked)})
    certificates = {(row.uid, row.generation): row.ca_certificates for row in found if row.ca_certificates is not None}
    return [_unblocked(row, certificates.get((row.uid, row.generation))) for row in configuration.clusters]


def _unblocked(row: ClusterRow, certificates: str | None) -> ClusterRow:
    if row.blocked_reason is None or certificates is None:
        return row
    return dataclasses.replace(row, ca_certificates=certificates, blocked_reason=None, blocked_message=None)
