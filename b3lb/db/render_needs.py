"""What the Jobs of renders are made of: which video a run renders, how large and long it is, and what it was given."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.tables import record_profiles, record_sets, records


@dataclass(frozen=True, slots=True)
class RenderKey:
    """Which video a run renders: a record set with a BBBRecordProfile."""

    record_set_id: UUID
    profile: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderNeeds:
    """What a render is and needs.

    Attributes:
        key: Which video it is.
        record_id: BBB's internal meeting ID.
        tenant: Slug, None for a recording of no tenant.
        spec: The profile's, None if there is no such profile.
        generation: The profile's, None if there is no such profile.
        memory_steps: How often it was given more memory.
        archive_bytes: Size of the archive.
        seconds: Length of the recorded part, else of the meeting, None if neither is known.
    """

    key: RenderKey
    record_id: str
    tenant: str | None
    spec: Mapping[str, Any] | None
    generation: int | None
    memory_steps: int
    archive_bytes: int
    seconds: float | None


_R, _S, _P = records.c, record_sets.c, record_profiles.c
_length = sa.func.coalesce(
    _S.duration_milliseconds / 1000.0, sa.func.extract("epoch", _S.ended_at - _S.started_at), type_=sa.Double
)
_NEEDS = (
    sa.select(
        _R.record_set_id,
        _R.profile,
        _R.memory_steps,
        _S.record_id,
        _S.tenant_slug,
        _S.archive_bytes,
        _length.label("seconds"),
        _P.spec,
        _P.generation,
    )
    .select_from(
        records.join(record_sets, _S.id == _R.record_set_id).outerjoin(
            # One that was deleted meanwhile has its row still.
            record_profiles,
            sa.and_(_P.namespace == _S.namespace, _P.name == _R.profile),
        )
    )
    .where(_R.run_id == sa.bindparam("of_run", type_=sa.Uuid))
)
_KEYS = sa.select(_R.run_id, _R.record_set_id, _R.profile).where(
    _R.run_id == sa.any_(sa.bindparam("of_runs", type_=postgresql.ARRAY(sa.Uuid)))
)


def read_render_needs(connection: sa.Connection, run_id: UUID) -> RenderNeeds | None:
    """Return what a render needs, None if the run renders nothing (any more): another one may have taken its place."""
    row = connection.execute(_NEEDS, {"of_run": run_id}).one_or_none()
    if row is None:
        return None
    return RenderNeeds(
        key=RenderKey(row.record_set_id, row.profile),
        record_id=row.record_id,
        tenant=row.tenant_slug,
        spec=row.spec,
        generation=row.generation,
        memory_steps=row.memory_steps,
        archive_bytes=row.archive_bytes,
        seconds=row.seconds,
    )


def read_render_keys(connection: sa.Connection, run_ids: Collection[UUID]) -> dict[UUID, RenderKey]:
    """Return by run what it renders; runs that render nothing are not in it."""
    if not run_ids:
        return {}
    rows = connection.execute(_KEYS, {"of_runs": list(run_ids)})
    return {row.run_id: RenderKey(row.record_set_id, row.profile) for row in rows}
