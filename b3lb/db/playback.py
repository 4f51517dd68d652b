"""What a public address names: a video that is rendered, of a recording that is not being deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.renders import RecordState
from b3lb.db.tables import record_sets, records
from b3lb.recordings.hold import RecordSetState
from b3lb.recordings.playback import Video


@dataclass(frozen=True, slots=True)
class Published:
    """A video, the key of its still picture where it has one, and the record set that both belong to."""

    record_set_id: UUID
    video: Video
    poster_key: str | None


_PUBLISHED = (
    sa.select(
        *(records.c[name] for name in ("file_key", "poster_key", "file_bytes", "file_sha256", "content_type")),
        *(records.c.finished_at, records.c.duration_milliseconds, record_sets.c.id, record_sets.c.meeting_name),
    )
    .join(record_sets, record_sets.c.id == records.c.record_set_id)
    .where(
        records.c.nonce == sa.bindparam("nonce", type_=sa.Text),
        records.c.state == RecordState.RENDERED.value,
        record_sets.c.namespace == sa.bindparam("namespace", type_=sa.Text),
        record_sets.c.state != RecordSetState.DELETING.value,
    )
)


def find_published(connection: sa.Connection, namespace: str, nonce: str) -> Published | None:
    """Return what a nonce names; None if nothing, or nothing any more: one statement."""
    row = connection.execute(_PUBLISHED, {"namespace": namespace, "nonce": nonce}).one_or_none()
    if row is None:
        return None
    length = row.duration_milliseconds
    video = Video(
        key=row.file_key,
        size=row.file_bytes,
        sha256=row.file_sha256,
        content_type=row.content_type or "video/mp4",
        finished_at=row.finished_at,
        name=row.meeting_name,
        duration=None if length is None else timedelta(milliseconds=length),
    )
    return Published(row.id, video, row.poster_key)
