"""What a sweep of the storage needs to know of the database."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.tables import installation, record_sets, records
from b3lb.recordings.hold import RecordSetState


@dataclass(frozen=True, slots=True)
class SweepRows:
    """A namespace's record sets by ID, those of them in work, its videos' keys, and the installation's ID."""

    record_sets: frozenset[UUID]
    working: frozenset[UUID]
    named: frozenset[str]
    install_id: UUID | None


_IN_WORK = sa.or_(
    record_sets.c.state.in_([RecordSetState.UPLOADED.value, RecordSetState.RENDERING.value]),
    # A video may be made of one that is settled, too.
    record_sets.c.id.in_(sa.select(records.c.record_set_id).where(records.c.finished_at.is_(None))),
)
_IDS = sa.select(record_sets.c.id, _IN_WORK.label("working")).where(
    record_sets.c.namespace == sa.bindparam("namespace", type_=sa.Text)
)
_NAMED = (
    sa.select(records.c.file_key, records.c.poster_key)
    .join(record_sets, record_sets.c.id == records.c.record_set_id)
    .where(record_sets.c.namespace == sa.bindparam("namespace", type_=sa.Text), records.c.file_key.is_not(None))
)
_INSTALL = sa.select(installation.c.id)


def load_sweep_rows(connection: sa.Connection, namespace: str) -> SweepRows:
    """Return which record sets and videos there are, and whose the database is: three statements."""
    rows = connection.execute(_IDS, {"namespace": namespace}).all()
    return SweepRows(
        frozenset(row.id for row in rows),
        frozenset(row.id for row in rows if row.working),
        frozenset(key for video in connection.execute(_NAMED, {"namespace": namespace}) for key in video if key),
        connection.execute(_INSTALL).scalar_one_or_none(),
    )
