"""What is looked at of queues: whether the database still has them, and what they run."""

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
    tasks: tuple[str, ...] = ()
    suspend: bool = False


_QUEUES = (
    sa.select(queues.c.name, queues.c.uid, queues.c.generation, queues.c.tasks, queues.c.suspend)
    .where(queues.c.namespace == sa.bindparam("namespace"), queues.c.deleted_at.is_(None))
    .order_by(queues.c.name)
)


def read_queues(connection: sa.Connection, namespace: str) -> Mapping[str, QueueMirror]:
    """Return the queues of ``namespace`` by name: one statement."""
    rows = connection.execute(_QUEUES, {"namespace": namespace})
    return {
        name: QueueMirror(name, uid, generation, tuple(tasks), suspend)
        for name, uid, generation, tasks, suspend in rows
    }
