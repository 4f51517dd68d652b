"""The manifest of a record set as its rows have it, so that nobody's video is lost when several are written at once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.renders import UNFINISHED, RecordState
from b3lb.db.tables import record_sets, records
from b3lb.recordings.hold import RecordSetState
from b3lb.storage.manifest import ArchiveEntry, Manifest, UnrenderedEntry, VideoEntry

_S, _R = record_sets.c, records.c
_SAME = (
    *("install_id", "namespace", "record_id", "meeting_id", "meeting_name", "tenant_slug", "sub_id", "cluster_name"),
    *("node_name", "uploaded_at", "started_at", "ended_at", "duration_milliseconds", "participants", "metadata"),
    *("legal_hold", "legal_hold_reason"),
)
_set_id = sa.bindparam("set_id", type_=sa.Uuid)
_RECORD_SET = sa.select(
    _S.id, *(_S[name] for name in _SAME), _S.archive_key, _S.archive_bytes, _S.archive_sha256
).where(_S.id == _set_id, _S.state != RecordSetState.DELETING.value)
_VIDEOS = (
    sa.select(
        *(_R.profile, _R.file_key, _R.file_bytes, _R.file_sha256, _R.nonce, _R.content_type, _R.poster_key),
        *(_R.duration_milliseconds, _R.width, _R.height, _R.finished_at),
    )
    .where(_R.record_set_id == _set_id, _R.state == RecordState.RENDERED.value)
    .order_by(_R.profile)
)
_UNRENDERED = (
    sa.select(_R.profile, _R.state, _R.reason, _R.message, _R.finished_at)
    .where(_R.record_set_id == _set_id, _R.state != RecordState.RENDERED.value)
    .order_by(_R.profile)
)


def manifest_of(connection: sa.Connection, record_set: UUID) -> Manifest | None:
    """Return the manifest of a record set with what became of its profiles; None if it is gone or being deleted."""
    row = connection.execute(_RECORD_SET, {"set_id": record_set}).one_or_none()
    if row is None:
        return None
    archive = None
    if row.archive_key is not None and row.archive_sha256 is not None:
        archive = ArchiveEntry(key=row.archive_key, size=row.archive_bytes, sha256=row.archive_sha256)
    videos = tuple(
        VideoEntry(
            profile=video.profile,
            key=video.file_key,
            size=video.file_bytes,
            sha256=video.file_sha256,
            nonce=video.nonce,
            content_type=video.content_type or "application/octet-stream",
            poster_key=video.poster_key,
            duration_milliseconds=video.duration_milliseconds,
            width=video.width,
            height=video.height,
            finished_at=video.finished_at,
        )
        for video in connection.execute(_VIDEOS, {"set_id": record_set})
    )
    unrendered = tuple(_unrendered(video) for video in connection.execute(_UNRENDERED, {"set_id": record_set}))
    values = {name: getattr(row, name) for name in _SAME}
    return Manifest(record_set_id=row.id, archive=archive, videos=videos, unrendered=unrendered, **values)


def _unrendered(video: sa.Row[Any]) -> UnrenderedEntry:
    if video.state in UNFINISHED:
        # Whether somebody is at work on it makes no difference once the database is lost.
        return UnrenderedEntry(profile=video.profile, state="PENDING")
    return UnrenderedEntry(
        profile=video.profile,
        state=video.state,
        reason=video.reason,
        message=video.message,
        finished_at=video.finished_at,
    )
