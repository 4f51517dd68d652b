"""Which video a run renders, and what that needs."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.tables import record_profiles, record_sets, records
from b3lb.recordings.render_needs import RenderKey, RenderNeeds

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
