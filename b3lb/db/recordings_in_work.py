"""Recordings as the operator looks at them: those in work, and those that have or should have a BBBRecording."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.record_deletion import HELD
from b3lb.db.record_tables import WATCHED
from b3lb.db.tables import record_profiles, record_sets, records, secrets, task_runs, tenants
from b3lb.recordings.hold import HeldRecordSet, RecordSetState, expires_at
from b3lb.recordings.profiles import Profile
from b3lb.recordings.steering import Recording, RenderRun, Video
from b3lb.resources.recording import recording_name
from b3lb.tasks import RENDER_RECORD

MOST_RECORDINGS = 5_000
"""So many are looked at, those in work first, each by its age; the rest follows."""

_S, _R, _T = record_sets.c, records.c, task_runs.c
_namespace: sa.BindParameter[str] = sa.bindparam("namespace", type_=sa.Text)
_VIDEO_COLUMNS = (
    *(_R.id.label("video_id"), _R.profile, _R.state.label("video_state"), _R.run_id, _R.renders, _R.attempts),
    *(_R.progress_percent, _R.progress_message, _R.reason.label("video_reason")),
    _R.message.label("video_message"),
    sa.func.jsonb_array_length(_R.warnings).label("warnings"),
    *(_T.id.label("known_run"), _T.state.label("run_state"), _T.finished_at, _T.in_flight, _T.queue),
    *(_T.priority.label("run_priority"), _T.created_at, _T.not_before, _T.error),
)


def _look(chosen: sa.Subquery) -> sa.Select[Any]:
    """Return the statement that reads these record sets with their videos, in their order."""
    return (
        sa.select(
            *(_S.id, _S.record_id, _S.tenant_slug, _S.state, _S.reason, _S.message, _S.uploaded_at, _S.rendered_at),
            *(_S.ended_at, _S.legal_hold, _S.priority, _S.paused, _S.retry, _S.object_uid, _S.dismissed),
            sa.func.coalesce(tenants.c.hold_days, 0).label("tenant_days"),
            sa.func.coalesce(secrets.c.hold_days, 0).label("secret_days"),
            secrets.c.record_profile_names,
            *_VIDEO_COLUMNS,
        )
        .select_from(
            HELD.join(chosen, chosen.c.id == _S.id)
            .outerjoin(records, _R.record_set_id == _S.id)
            .outerjoin(task_runs, _T.id == _R.run_id)
        )
        .order_by(chosen.c.place, _S.id, _R.profile)
    )


_in_work = _S.state.in_([RecordSetState.UPLOADED.value, RecordSetState.RENDERING.value])
_order = (_in_work.desc(), _S.uploaded_at, _S.id)
_place = sa.func.row_number().over(order_by=_order).label("place")
_WATCHED = _look(
    sa.select(_S.id, _place)
    .where(_S.namespace == _namespace, sa.text(f"({WATCHED})"))
    .order_by(*_order)
    .limit(MOST_RECORDINGS)
    .subquery("chosen")
)
_NAMED = _look(
    sa.select(_S.id, _place)
    .where(
        _S.namespace == _namespace,
        sa.or_(
            _S.record_id == sa.any_(sa.bindparam("names", type_=postgresql.ARRAY(sa.Text))),
            _S.id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Uuid))),
        ),
    )
    .subquery("chosen")
)
_IN_FLIGHT = sa.select(
    _T.id, _T.arguments["record_set"].astext.label("record_set"), _T.arguments["profile"].astext.label("profile")
).where(
    _T.namespace == _namespace,
    _T.enqueued,
    _T.in_flight,
    sa.or_(_T.finished_at.is_(None), _T.in_flight),
    _T.task == RENDER_RECORD,
)
_PROFILES = sa.select(
    record_profiles.c.name, record_profiles.c.generation, record_profiles.c.is_default, record_profiles.c.blocked_reason
).where(record_profiles.c.namespace == _namespace, record_profiles.c.deleted_at.is_(None))
_NOW = sa.select(sa.func.clock_timestamp())


@dataclass(frozen=True, slots=True)
class RecordingsInWork:
    """One look at a namespace's recordings, at ``now`` by the database's clock."""

    now: datetime
    recordings: Sequence[Recording]


def read_recordings(connection: sa.Connection, namespace: str, names: Collection[str] = ()) -> RecordingsInWork:
    """Return the recordings to look at: three statements, four if others are named.

    Args:
        connection: Within a transaction.
        namespace: The namespace.
        names: The names of the live BBBRecordings; recordings of these names are looked at in any case.
    """
    parameters = {"namespace": namespace}
    now: datetime = connection.execute(_NOW).scalar_one()
    in_flight = {(row.record_set, row.profile, row.id) for row in connection.execute(_IN_FLIGHT, parameters)}
    found = _recordings(connection.execute(_WATCHED, parameters).all(), in_flight)
    others = set(names) - {recording.name for recording in found}
    if others:
        ids = [identifier for name in others if (identifier := _named_id(name)) is not None]
        rows = connection.execute(_NAMED, {**parameters, "names": list(others), "ids": ids}).all()
        found += [recording for recording in _recordings(rows, in_flight) if recording.name in others]
    return RecordingsInWork(now, found)


def read_profiles(connection: sa.Connection, namespace: str) -> list[Profile]:
    """Return the record profiles of a namespace: one statement."""
    return [
        Profile(row.name, row.generation, is_default=row.is_default, usable=row.blocked_reason is None)
        for row in connection.execute(_PROFILES, {"namespace": namespace})
    ]


def _named_id(name: str) -> UUID | None:
    try:
        return UUID(name.removeprefix("recording-"))
    except ValueError:
        return None


def _recordings(rows: Sequence[sa.Row[Any]], in_flight: Collection[tuple[str, str, UUID]]) -> list[Recording]:
    crowds: dict[tuple[str, str], set[UUID]] = {}
    for record_set, profile, run in in_flight:
        crowds.setdefault((record_set, profile), set()).add(run)
    return [_recording(list(group), crowds) for _, group in groupby(rows, key=lambda row: row.id)]


def _recording(rows: Sequence[sa.Row[Any]], crowds: Mapping[tuple[str, str], set[UUID]]) -> Recording:
    row = rows[0]
    held = HeldRecordSet(
        id=row.id,
        state=RecordSetState(row.state),
        ended_at=row.ended_at,
        tenant_days=row.tenant_days,
        secret_days=row.secret_days,
        legal_hold=row.legal_hold,
    )
    return Recording(
        id=row.id,
        name=recording_name(row.record_id, row.id),
        record_id=row.record_id,
        state=held.state,
        uploaded_at=row.uploaded_at,
        tenant_slug=row.tenant_slug,
        rendered_at=row.rendered_at,
        reason=row.reason,
        message=row.message,
        legal_hold=row.legal_hold,
        expires_at=expires_at(held),
        references=tuple(row.record_profile_names or ()),
        priority=row.priority,
        paused=row.paused,
        retry=row.retry,
        object_uid=row.object_uid,
        dismissed=row.dismissed,
        videos=tuple(_video(item, crowds) for item in rows if item.video_id is not None),
    )


def _video(row: sa.Row[Any], crowds: Mapping[tuple[str, str], set[UUID]]) -> Video:
    return Video(
        id=row.video_id,
        profile=row.profile,
        state=row.video_state,
        run_id=row.run_id,
        renders=row.renders,
        attempts=row.attempts,
        progress_percent=row.progress_percent,
        progress_message=row.progress_message,
        reason=row.video_reason,
        message=row.video_message,
        warnings=row.warnings,
        run=None if row.known_run is None else _run(row),
        crowded=bool(crowds.get((str(row.id), row.profile), set()) - {row.run_id}),
    )


def _run(row: sa.Row[Any]) -> RenderRun:
    return RenderRun(
        state=row.run_state,
        over=row.finished_at is not None,
        in_flight=row.in_flight,
        queue=row.queue,
        priority=row.run_priority,
        enqueued_at=row.created_at,
        not_before=row.not_before,
        error=row.error,
    )
