"""Recordings as people and programs ask for them: record sets with their videos and callbacks, the newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.callbacks import ShownCallback, latest_callbacks
from b3lb.db.record_deletion import HELD
from b3lb.db.tables import record_sets, records, secrets, tenants
from b3lb.recordings.hold import HeldRecordSet, RecordSetState

MOST_CALLBACKS = 2_000
"""So many callbacks of the recordings that are asked for are read at most."""

MOST_WARNINGS = 100
"""So many warnings of a video are shown at most; how many there are is always told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """The rendering of a record set by a profile, done or not; ``run_id`` is the task run that renders or rendered it.

    ``warnings`` say what could not be shown, each with code and message; a list has only how many they are.
    """

    id: UUID
    profile: str
    state: str
    run_id: UUID | None
    attempts: int
    memory_steps: int
    progress_percent: float | None
    progress_message: str | None
    progress_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    file_bytes: int | None
    content_type: str | None
    duration_milliseconds: int | None
    width: int | None
    height: int | None
    reason: str | None
    message: str | None
    warning_count: int
    warnings: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSet:
    """The row of a record set, and for how many days its tenant and its API secret keep recordings (0: for ever)."""

    id: UUID
    namespace: str
    record_id: str
    meeting_id: str
    meeting_name: str
    tenant_slug: str | None
    sub_id: int | None
    cluster_name: str | None
    node_name: str | None
    state: str
    reason: str | None
    message: str | None
    uploaded_at: datetime
    rendering_at: datetime | None
    rendered_at: datetime | None
    failed_at: datetime | None
    deleting_at: datetime | None
    archive_key: str | None
    archive_bytes: int
    started_at: datetime | None
    ended_at: datetime
    duration_milliseconds: int | None
    participants: int | None
    legal_hold: bool
    legal_hold_reason: str | None
    priority: int | None
    paused: bool
    tenant_days: int
    secret_days: int

    @property
    def held(self) -> HeldRecordSet:
        """What decides whether it is held."""
        return HeldRecordSet(
            id=self.id,
            state=RecordSetState(self.state),
            ended_at=self.ended_at,
            tenant_days=self.tenant_days,
            secret_days=self.secret_days,
            legal_hold=self.legal_hold,
        )


@dataclass(frozen=True, slots=True)
class Recording:
    """A record set with its videos, by profile, and its callbacks, newest first."""

    record_set: RecordSet
    videos: Sequence[Video]
    callbacks: Sequence[ShownCallback]


_S, _R = record_sets.c, records.c
_DAYS = {"tenant_days": tenants.c.hold_days, "secret_days": secrets.c.hold_days}
_SETS = (
    sa.select(
        *(_S[name] for name in RecordSet.__dataclass_fields__ if name not in _DAYS),
        *(sa.func.coalesce(days, 0).label(name) for name, days in _DAYS.items()),
    )
    .select_from(HELD)
    .where(_S.namespace == sa.any_(sa.bindparam("namespaces", type_=sa.ARRAY(sa.Text))))
    .order_by(_S.uploaded_at.desc(), _S.id)
)
_PLAIN = tuple(name for name in Video.__dataclass_fields__ if name not in {"warnings", "warning_count"})
_WARNINGS = sa.func.jsonb_path_query_array(_R.warnings, sa.text(f"'$[0 to {MOST_WARNINGS - 1}]'"))
_VIDEOS = (
    sa.select(
        _R.record_set_id,
        *(_R[name] for name in _PLAIN),
        sa.func.jsonb_array_length(_R.warnings).label("warning_count"),
        sa.case((sa.bindparam("details", type_=sa.Boolean), _WARNINGS), else_=sa.text("'[]'::jsonb")).label("warnings"),
    )
    .where(_R.record_set_id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Uuid))))
    .order_by(_R.profile)
)


def find_recordings(
    connection: sa.Connection,
    namespaces: Sequence[str],
    *,
    tenant: str | None = None,
    state: str | None = None,
    record_id: str | None = None,
    most: int = 50,
    details: bool = False,
) -> list[Recording]:
    """Return the recordings that were uploaded last, the newest first: at most three statements.

    Args:
        connection: To the database.
        namespaces: Where to look.
        tenant: Only those of this slug; None: of all and of none.
        state: Only those whose record set is in this state; None: in any.
        record_id: Only the one with BBB's internal meeting ID; None: all.
        most: How many at most.
        details: Whether the videos' warnings are read, and not only counted.
    """
    statement = _SETS.limit(most)
    for column, value in ((_S.tenant_slug, tenant), (_S.state, state), (_S.record_id, record_id)):
        if value is not None:
            statement = statement.where(column == value)
    rows = connection.execute(statement, {"namespaces": list(namespaces)}).mappings()
    found = [RecordSet(**row) for row in rows]
    if not found:
        return []
    videos: dict[UUID, list[Video]] = defaultdict(list)
    for row in connection.execute(_VIDEOS, {"ids": [item.id for item in found], "details": details}).mappings():
        values = dict(row)
        videos[values.pop("record_set_id")].append(Video(**values))
    callbacks: dict[tuple[str, str], list[ShownCallback]] = defaultdict(list)
    names = [item.record_id for item in found]
    for callback in latest_callbacks(connection, namespaces, record_ids=names, most=MOST_CALLBACKS):
        callbacks[callback.namespace, callback.record_id].append(callback)
    return [
        Recording(item, videos.get(item.id, []), callbacks.get((item.namespace, item.record_id), [])) for item in found
    ]
