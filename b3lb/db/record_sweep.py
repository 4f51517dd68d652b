"""What a sweep of the storage needs to know of the database."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.tables import installation, record_sets


@dataclass(frozen=True, slots=True)
class SweepRows:
    """The IDs of a namespace's record sets, in any state, and the installation's."""

    record_sets: frozenset[UUID]
    install_id: UUID | None


_IDS = sa.select(record_sets.c.id).where(record_sets.c.namespace == sa.bindparam("namespace", type_=sa.Text))
_INSTALL = sa.select(installation.c.id)


def load_sweep_rows(connection: sa.Connection, namespace: str) -> SweepRows:
    """Return which record sets there are, and whose the database is: two statements."""
    ids = frozenset(connection.scalars(_IDS, {"namespace": namespace}))
    return SweepRows(ids, connection.execute(_INSTALL).scalar_one_or_none())
