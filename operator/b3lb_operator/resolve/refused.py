"""What stays of objects whose rows the database does not take."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from b3lb.db.configuration import ApiSecretRow, Kind, NodeRow, RecordProfileRow, TenantRow
from b3lb_operator.manifests.facts import Block
from b3lb_operator.resolve.configuration import Configuration

Blocks = Mapping[str, Block]


def without_spec(configuration: Configuration, blocks: Mapping[Kind, Blocks]) -> Configuration:
    """Return the blocked objects with nothing of their specs but what attributes meetings.

    Running meetings of a tenant stay its own: the slug, the sub-ID and what is disabled are kept. Clusters and queues
    are left out.

    Args:
        configuration: The wanted rows.
        blocks: By kind and name, why the row of an object is not taken.
    """
    return Configuration(
        nodes=list(_nodes(configuration.nodes, blocks[Kind.NODE])),
        tenants=list(_tenants(configuration.tenants, blocks[Kind.TENANT])),
        api_secrets=list(_api_secrets(configuration.api_secrets, blocks[Kind.SECRET])),
        record_profiles=list(_record_profiles(configuration.record_profiles, blocks[Kind.RECORD_PROFILE])),
    )


def _nodes(rows: Iterable[NodeRow], blocks: Blocks) -> Iterable[NodeRow]:
    for row in rows:
        if (block := blocks.get(row.name)) is not None:
            bare = NodeRow(
                name=row.name,
                uid=row.uid,
                generation=row.generation,
                cluster=None,
                api_url="",
                load_url="",
                secret=None,
                created_at=row.created_at,
            )
            yield dataclasses.replace(bare, blocked_reason=str(block.reason), blocked_message=block.message)


def _tenants(rows: Iterable[TenantRow], blocks: Blocks) -> Iterable[TenantRow]:
    for row in rows:
        if (block := blocks.get(row.name)) is not None:
            bare = dataclasses.replace(row, cluster_names=(), meeting_limit=None, attendee_limit=None)
            yield dataclasses.replace(bare, blocked_reason=str(block.reason), blocked_message=block.message)


def _api_secrets(rows: Iterable[ApiSecretRow], blocks: Blocks) -> Iterable[ApiSecretRow]:
    for row in rows:
        if (block := blocks.get(row.name)) is not None:
            bare = dataclasses.replace(
                row, secret=None, meeting_limit=None, attendee_limit=None, record_profile_names=()
            )
            yield dataclasses.replace(bare, blocked_reason=str(block.reason), blocked_message=block.message)


def _record_profiles(rows: Iterable[RecordProfileRow], blocks: Blocks) -> Iterable[RecordProfileRow]:
    for row in rows:
        if (block := blocks.get(row.name)) is not None:
            bare = dataclasses.replace(row, is_default=False, spec={})
            yield dataclasses.replace(bare, blocked_reason=str(block.reason), blocked_message=block.message)
