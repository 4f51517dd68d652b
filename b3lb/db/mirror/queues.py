"""What is looked at of queues: whether the database still has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from b3lb.db.tables import queues


@dataclass(frozen=True, slots=True)
class QueueMirror:
    """A queue that is not deleted."""

    name: str
    uid: str
    generation: int


_QUEUES = (
    sa.select(queues.c.name, queues.c.uid, queues.c.generation)
    .where(queues.c.namespace == sa.bindparam("namespace"), queues.c.deleted_at.is_(None))
    .order_by(queues.c.name)
)


def read_queues(connection: sa.Connection, namespace: str) -> Mapping[str, QueueMirror]:
    """Return the queues of ``namespace`` by name: one statement."""
    return {row.name: QueueMirror(*row) for row in connection.execute(_QUEUES, {"namespace": namespace})}
