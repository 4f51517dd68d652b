"""The index of recordings, rebuilt from the manifests in the storage after the database was lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.record_sets import find_secret
from b3lb.db.renders import RecordState, first_failure, outcome_of
from b3lb.db.tables import installation, record_sets, records
from b3lb.recordings.hold import RecordSetState
from b3lb.storage.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of a manifest: whether its record set is new in the index, and how many videos are."""

    record_set: bool
    videos: int


def newest_of_each(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return one manifest of each recording: that with the most videos, then the newest; a pure function.

    A recording has two when an upload was published and its answer never came, so that its node sent it again.
    """
    chosen: dict[tuple[str, str], Manifest] = {}
    for manifest in manifests:
        key = (manifest.namespace, manifest.record_id)
        chosen[key] = max(chosen.get(key, manifest), manifest, key=_rank)
    return sorted(chosen.values(), key=lambda manifest: (manifest.uploaded_at, manifest.record_id))


def adopt_install_id(connection: sa.Connection, install_id: UUID) -> None:
    """Make the database carry the storage's installation's ID."""
    connection.execute(sa.update(installation).values(id=install_id))


def restore_record_set(connection: sa.Connection, manifest: Manifest) -> Rebuilt:
    """Write the rows of a manifest that are not there; rows that are there stay as they are.

    What is known of its profiles makes the record set RENDERED or FAILED. It is UPLOADED, so that the rest is rendered,
    where a profile was still to be rendered when the manifest was written, and where none was begun.
    """
    insert = postgresql.insert(record_sets).values(_record_set(connection, manifest))
    statement = insert.on_conflict_do_nothing().returning(record_sets.c.id)
    new = connection.execute(statement).scalar_one_or_none() is not None
    present = connection.execute(
        sa.select(record_sets.c.id).where(record_sets.c.id == manifest.record_set_id)
    ).scalar_one_or_none()
    rows = [*_videos(manifest), *_unrendered(manifest)]
    if present is None or not rows:
        # Another record set is the recording's, or nothing was begun.
        return Rebuilt(new, 0)
    written = postgresql.insert(records).values(rows).on_conflict_do_nothing().returning(records.c.state)
    states = connection.scalars(written).all()
    return Rebuilt(new, sum(state == RecordState.RENDERED for state in states))


_EMPTY: dict[str, object] = dict.fromkeys(
    ("nonce", "file_key", "poster_key", "file_bytes", "file_sha256", "content_type"), None
) | dict.fromkeys(("duration_milliseconds", "width", "height", "finished_at", "reason", "message"), None)
"""What a row of records need not have; rows that are written together have the same columns."""


def _videos(manifest: Manifest) -> list[dict[str, object]]:
    return [
        _EMPTY
        | {
            "record_set_id": manifest.record_set_id,
            "profile": video.profile,
            "state": RecordState.RENDERED.value,
            "nonce": video.nonce,
            "file_key": video.key,
            "poster_key": video.poster_key,
            "file_bytes": video.size,
            "file_sha256": video.sha256,
            "content_type": video.content_type,
            "duration_milliseconds": video.duration_milliseconds,
            "width": video.width,
            "height": video.height,
            "finished_at": video.finished_at,
        }
        for video in manifest.videos
    ]


def _unrendered(manifest: Manifest) -> list[dict[str, object]]:
    return [
        _EMPTY
        | {
            "record_set_id": manifest.record_set_id,
            "profile": entry.profile,
            "state": entry.state,
            "reason": entry.reason,
            "message": entry.message,
            "finished_at": entry.finished_at,
        }
        for entry in manifest.unrendered
    ]


def _state(manifest: Manifest) -> dict[str, object]:
    """Return state, times and reason of the record set by what became of its profiles."""
    states = [RecordState.RENDERED] * len(manifest.videos) + [RecordState(entry.state) for entry in manifest.unrendered]
    outcome = outcome_of(states)
    if outcome is None:
        return {"state": RecordSetState.UPLOADED.value}
    ends_at = [video.finished_at for video in manifest.videos]
    ended_at = max([*ends_at, *(entry.finished_at or manifest.uploaded_at for entry in manifest.unrendered)])
    if outcome is RecordSetState.RENDERED:
        return {"state": outcome.value, "rendered_at": ended_at}
    ends = sorted(manifest.unrendered, key=lambda entry: (entry.finished_at or manifest.uploaded_at, entry.profile))
    reason, message = first_failure([(entry.profile, entry.state, entry.reason, entry.message) for entry in ends])
    return {"state": outcome.value, "failed_at": ended_at, "reason": reason, "message": message}


def _rank(manifest: Manifest) -> tuple[int, float]:
    return len(manifest.videos), manifest.uploaded_at.timestamp()


def _record_set(connection: sa.Connection, manifest: Manifest) -> dict[str, object]:
    archive = manifest.archive
    secret = None
    if manifest.tenant_slug is not None and manifest.sub_id is not None:
        secret = find_secret(connection, manifest.namespace, slug=manifest.tenant_slug, sub_id=manifest.sub_id)
    return {
        "id": manifest.record_set_id,
        "namespace": manifest.namespace,
        "record_id": manifest.record_id,
        "meeting_id": manifest.meeting_id,
        "meeting_name": manifest.meeting_name,
        "secret_id": secret,
        "tenant_slug": manifest.tenant_slug,
        "sub_id": manifest.sub_id,
        "cluster_name": manifest.cluster_name,
        "node_name": manifest.node_name,
        **_state(manifest),
        "uploaded_at": manifest.uploaded_at,
        "archive_key": None if archive is None else archive.key,
        "archive_bytes": 0 if archive is None else archive.size,
        "archive_sha256": None if archive is None else archive.sha256,
        "started_at": manifest.started_at,
        "ended_at": manifest.ended_at,
        "duration_milliseconds": manifest.duration_milliseconds,
        "participants": manifest.participants,
        "metadata": dict(manifest.metadata),
        "install_id": manifest.install_id,
        "legal_hold": manifest.legal_hold,
        "legal_hold_reason": manifest.legal_hold_reason,
    }
