"""Record sets: how an upload is admitted, attributed and noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.crypto import Encrypted, KeyRing, UnknownKeyError
from b3lb.db.planning.sealing import upload_secret_context
from b3lb.db.tables import clusters, installation, meetings, nodes, record_sets, secrets, tenants
from b3lb.meetings.attribution import split_meeting_id
from b3lb.recordings.hold import RecordSetState

MOST_CLUSTERS = 1000


@dataclass(frozen=True, slots=True)
class UploadSecret:
    """The upload secret of a cluster, encrypted."""

    cluster: str
    sealed: Encrypted = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Whose a recording is; ``secret_id`` is None while there is no such BBBSecret, the rest without a prefix."""

    tenant_slug: str | None = None
    sub_id: int | None = None
    secret_id: int | None = None
    node_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A recording whose archive is in the storage; ``ended_at`` is the upload's time where the node did not say."""

    id: UUID
    namespace: str
    record_id: str
    meeting_id: str
    meeting_name: str
    cluster_name: str
    attribution: Attribution
    uploaded_at: datetime
    started_at: datetime | None
    ended_at: datetime
    duration_milliseconds: int | None
    participants: int | None
    metadata: Mapping[str, str]
    archive_key: str
    archive_bytes: int
    archive_sha256: str
    install_id: UUID


_SECRETS = (
    sa.select(clusters.c.name, clusters.c.secret_ciphertext, clusters.c.secret_key_id, clusters.c.secret_hash)
    .where(
        clusters.c.namespace == sa.bindparam("namespace"),
        clusters.c.deleted_at.is_(None),
        clusters.c.secret_hash.is_not(None),
    )
    .order_by(clusters.c.name)
    .limit(MOST_CLUSTERS)
)

_NODE = (
    sa.select(nodes.c.name)
    .join(meetings, meetings.c.node_id == nodes.c.id)
    .where(meetings.c.internal_id == sa.bindparam("record_id"), nodes.c.namespace == sa.bindparam("namespace"))
    .order_by(meetings.c.id.desc())
    .limit(1)
)

_SECRET = (
    sa.select(secrets.c.id)
    .join(tenants, tenants.c.id == secrets.c.tenant_id)
    .where(
        secrets.c.namespace == sa.bindparam("namespace"),
        secrets.c.sub_id == sa.bindparam("sub_id"),
        tenants.c.slug == sa.bindparam("slug"),
        tenants.c.blocked_reason.is_(None),
    )
    # A deleted one's recordings are still its own: it may come back.
    .order_by(tenants.c.deleted_at.is_not(None), secrets.c.deleted_at.is_not(None), secrets.c.id)
    .limit(1)
)


def read_upload_secrets(connection: sa.Connection, namespace: str) -> list[UploadSecret]:
    """Return the upload secrets of a namespace's clusters: one statement."""
    return [
        UploadSecret(row.name, Encrypted(row.secret_ciphertext, row.secret_key_id, row.secret_hash))
        for row in connection.execute(_SECRETS, {"namespace": namespace})
    ]


def matching_cluster(nonce: str, found: Iterable[UploadSecret], keys: KeyRing, *, namespace: str) -> str | None:
    """Return the first cluster whose upload secret ``nonce`` is, or None.

    How long it takes does not tell how near it was: keyed hashes are compared, all of them, in constant time each.
    An empty nonce is nobody's.

    Raises:
        UnknownKeyError: It is none of those that ``keys`` can tell, and there are others.
    """
    cluster, unknown = None, None
    for secret in found:
        context = upload_secret_context(namespace, secret.cluster)
        try:
            same = keys.matches(nonce, secret.sealed.hash, secret.sealed.key_id, context=context)
        except UnknownKeyError as error:
            unknown = error
            continue
        if same and nonce and cluster is None:
            cluster = secret.cluster
    if cluster is None and unknown is not None:
        raise unknown
    return cluster


@dataclass(frozen=True, slots=True)
class KnownRecordSet:
    """A record set that there is already."""

    id: UUID
    state: RecordSetState


def find_record_set(connection: sa.Connection, namespace: str, record_id: str) -> KnownRecordSet | None:
    """Return the record set of a recording; None if there is none."""
    row = connection.execute(
        sa.select(record_sets.c.id, record_sets.c.state).where(
            record_sets.c.namespace == namespace, record_sets.c.record_id == record_id
        )
    ).one_or_none()
    return None if row is None else KnownRecordSet(row.id, RecordSetState(row.state))


def attribute_recording(connection: sa.Connection, namespace: str, *, record_id: str, meeting_id: str) -> Attribution:
    """Find whose a recording is by its meeting ID's prefix, and on which node the meeting was: two statements."""
    node = connection.execute(_NODE, {"namespace": namespace, "record_id": record_id}).scalar_one_or_none()
    name = split_meeting_id(meeting_id)
    if name is None:
        return Attribution(node_name=node)
    secret = find_secret(connection, namespace, slug=name.slug, sub_id=name.sub_id)
    return Attribution(tenant_slug=name.slug, sub_id=name.sub_id, secret_id=secret, node_name=node)


def find_secret(connection: sa.Connection, namespace: str, *, slug: str, sub_id: int) -> int | None:
    """Return the row's ID of a tenant's API secret, also of a deleted one; None if there never was one."""
    parameters = {"namespace": namespace, "slug": slug, "sub_id": sub_id}
    found: int | None = connection.execute(_SECRET, parameters).scalar_one_or_none()
    return found


def insert_record_set(connection: sa.Connection, uploaded: Uploaded) -> bool:
    """Note an upload as UPLOADED; return False, without a change, if its recording is there already."""
    values = {
        "id": uploaded.id,
        "namespace": uploaded.namespace,
        "record_id": uploaded.record_id,
        "meeting_id": uploaded.meeting_id,
        "meeting_name": uploaded.meeting_name,
        "cluster_name": uploaded.cluster_name,
        "tenant_slug": uploaded.attribution.tenant_slug,
        "sub_id": uploaded.attribution.sub_id,
        "secret_id": uploaded.attribution.secret_id,
        "node_name": uploaded.attribution.node_name,
        "uploaded_at": uploaded.uploaded_at,
        "started_at": uploaded.started_at,
        "ended_at": uploaded.ended_at,
        "duration_milliseconds": uploaded.duration_milliseconds,
        "participants": uploaded.participants,
        "metadata": dict(uploaded.metadata),
        "archive_key": uploaded.archive_key,
        "archive_bytes": uploaded.archive_bytes,
        "archive_sha256": uploaded.archive_sha256,
        "install_id": uploaded.install_id,
    }
    insert = postgresql.insert(record_sets).values(values)
    statement = insert.on_conflict_do_nothing(index_elements=[record_sets.c.namespace, record_sets.c.record_id])
    return connection.execute(statement.returning(record_sets.c.id)).scalar_one_or_none() is not None


def read_database_install_id(connection: sa.Connection) -> UUID:
    """Return the installation's ID that this database carries."""
    found: UUID = connection.execute(sa.select(installation.c.id)).scalar_one()
    return found
