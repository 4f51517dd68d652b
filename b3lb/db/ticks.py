"""The end of a tick: what it found goes into the database in one transaction of a constant number of statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.leases import Lease, fence, release
from b3lb.db.node_states import notify
from b3lb.db.statements import dump
from b3lb.db.tables import heartbeats
from b3lb.db.task_runs import record_tick


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick found.

    ``tick_at`` is the time the tick was due, ``started_at`` when it began, both by the database's clock; ``seconds`` is
    its duration. ``summary`` is a small JSON object for people. ``write`` stores what changed, by a constant number of
    statements, and returns how many rows were written; None: nothing changed.
    """

    namespace: str
    task: str
    tick_at: datetime
    started_at: datetime
    seconds: float
    summary: Mapping[str, Any] = field(default_factory=dict)
    write: Callable[[sa.Connection], int] | None = None


_INSERT = postgresql.insert(heartbeats).values(
    namespace=sa.bindparam("namespace"),
    task=sa.bindparam("task"),
    tick_at=sa.bindparam("tick_at", type_=sa.TIMESTAMP(timezone=True)),
    started_at=sa.bindparam("started_at", type_=sa.TIMESTAMP(timezone=True)),
    finished_at=sa.func.clock_timestamp(),
    holder=sa.bindparam("holder"),
    token=sa.bindparam("token"),
    summary=sa.cast(sa.bindparam("summary", type_=sa.Text), postgresql.JSONB),
)
_HEARTBEAT = _INSERT.on_conflict_do_update(
    index_elements=[heartbeats.c.namespace, heartbeats.c.task],
    set_={
        name: _INSERT.excluded[name] for name in ("tick_at", "started_at", "finished_at", "holder", "token", "summary")
    },
)


def heartbeat(
    connection: sa.Connection,
    namespace: str,
    task: str,
    *,
    tick_at: datetime,
    started_at: datetime,
    lease: Lease,
    summary: Mapping[str, Any],
) -> None:
    """Note that a tick of ``task`` ended now; the newest one stands."""
    parameters = {
        "namespace": namespace,
        "task": task,
        "tick_at": tick_at,
        "started_at": started_at,
        "holder": lease.holder,
        "token": lease.token,
        "summary": dump(summary),
    }
    connection.execute(_HEARTBEAT, parameters)


def finish_tick(
    connection: sa.Connection, lease: Lease, tick: Tick, *, run_id: UUID | None = None, give_back: bool = True
) -> int:
    """Store a tick under its lease; return how many rows ``tick.write`` wrote.

    At most five statements and those of ``tick.write``: fence, heartbeat, task run, notification (only if something was
    written) and the lease's release (unless ``give_back`` is false).

    Raises:
        LeaseLostError: Somebody else is the writer now; the caller's transaction must end without a commit.
    """
    fence(connection, lease)
    written = 0 if tick.write is None else tick.write(connection)
    heartbeat(
        connection,
        tick.namespace,
        tick.task,
        tick_at=tick.tick_at,
        started_at=tick.started_at,
        lease=lease,
        summary=tick.summary,
    )
    if run_id is not None:
        record_tick(connection, run_id, seconds=tick.seconds)
    if written:
        notify(connection, tick.namespace)
    if give_back:
        release(connection, lease)
    return written
