"""The videos of recordings: a row for each profile that is asked for, and what becomes of those that there are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.recordings_in_work import read_profiles
from b3lb.db.renders import RecordState, settle_record_set
from b3lb.db.statements import dump, recordset
from b3lb.db.tables import record_sets, records
from b3lb.recordings.hold import RecordSetState
from b3lb.recordings.profiles import NO_PROFILE, ProfileChoice, choose_profiles, missing_message
from b3lb.recordings.steering import Recording

_S, _R = record_sets.c, records.c
_ids = sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Uuid)))
_now = sa.func.clock_timestamp()
_planned = recordset("videos", [_R.record_set_id, _R.profile, _R.profile_generation, _R.state, _R.reason, _R.message])
_insert_videos = postgresql.insert(records).from_select(
    ["record_set_id", "profile", "profile_generation", "state", "reason", "message", "finished_at"],
    sa.select(
        *(_planned.c[name] for name in ("record_set_id", "profile", "profile_generation", "state", "reason")),
        _planned.c.message,
        sa.case((_planned.c.state == RecordState.FAILED.value, _now)),
    )
    .select_from(_planned.join(record_sets, _S.id == _planned.c.record_set_id))
    .where(_S.state.in_([RecordSetState.UPLOADED.value, RecordSetState.FAILED.value])),
)
_INSERT_VIDEOS = _insert_videos.on_conflict_do_update(
    index_elements=[_R.record_set_id, _R.profile],
    set_={
        name: _insert_videos.excluded[name]
        for name in ("profile_generation", "state", "reason", "message", "finished_at")
    },
    where=sa.and_(
        _R.state == RecordState.FAILED.value,
        _R.reason == NO_PROFILE,
        _insert_videos.excluded.state == RecordState.PENDING.value,
    ),
).returning(sa.literal(1))
_NO_PROFILE = (
    sa.update(record_sets)
    .where(_S.id == _ids, _S.state == RecordSetState.UPLOADED.value)
    .values(
        state=RecordSetState.FAILED.value,
        failed_at=_now,
        reason=NO_PROFILE,
        message=sa.func.coalesce(
            sa.select(sa.func.string_agg(_R.message, "; "))
            .where(_R.record_set_id == _S.id)
            .correlate(record_sets)
            .scalar_subquery(),
            missing_message(),
        ),
    )
)
_DROP_UNNAMED = (
    sa.delete(records)
    .where(
        _R.record_set_id == _ids,
        _R.state == RecordState.FAILED.value,
        _R.reason == NO_PROFILE,
        ~sa.exists().where(_planned.c.record_set_id == _R.record_set_id, _planned.c.profile == _R.profile),
    )
    .returning(_R.record_set_id)
)
_HEAL = (
    sa.update(record_sets)
    .where(
        _S.id == _ids,
        _S.state == RecordSetState.FAILED.value,
        _S.reason == NO_PROFILE,
        # Without this somebody would have to settle it: nobody works on it.
        sa.or_(
            _S.id == sa.any_(sa.bindparam("mended", type_=postgresql.ARRAY(sa.Uuid))),
            sa.exists().where(_R.record_set_id == _S.id, _R.state == RecordState.PENDING.value),
        ),
    )
    .values(state=RecordSetState.UPLOADED.value, reason=None, message=None)
)


def plan_videos(connection: sa.Connection, namespace: str, recordings: Sequence[Recording]) -> int:
    """Make the videos of these recordings, or note that there is no profile for them; return how many rows changed."""
    profiles = read_profiles(connection, namespace)
    choices = {recording.id: choose_profiles(recording.references, profiles) for recording in recordings}
    rows = [row for recording in recordings for row in _video_rows(recording.id, choices[recording.id])]
    written = len(connection.execute(_INSERT_VIDEOS, {"videos": dump(rows)}).all()) if rows else 0
    without = [record_set for record_set, choice in choices.items() if not choice.chosen]
    if without:
        written += connection.execute(_NO_PROFILE, {"ids": without}).rowcount
    failed = [item.id for item in recordings if choices[item.id].chosen and item.state is RecordSetState.FAILED]
    return written + (_heal(connection, failed, rows) if failed else 0)


def _heal(connection: sa.Connection, ids: Sequence[UUID], rows: Sequence[Mapping[str, Any]]) -> int:
    """Let recordings for which there was no profile go on, without the videos that nobody asks for any more."""
    mended = set(connection.scalars(_DROP_UNNAMED, {"ids": list(ids), "videos": dump(rows)}))
    healed = connection.execute(_HEAL, {"ids": list(ids), "mended": list(mended)}).rowcount
    for record_set in sorted(mended):
        settle_record_set(connection, record_set)
    return healed


def _video_rows(record_set: UUID, choice: ProfileChoice) -> list[dict[str, Any]]:
    chosen = [
        {
            "record_set_id": str(record_set),
            "profile": profile.name,
            "profile_generation": profile.generation,
            "state": RecordState.PENDING.value,
        }
        for profile in choice.chosen
    ]
    missing = [
        {
            "record_set_id": str(record_set),
            "profile": name,
            "state": RecordState.FAILED.value,
            "reason": NO_PROFILE,
            "message": missing_message(name),
        }
        for name in choice.missing
    ]
    return [*chosen, *missing]
