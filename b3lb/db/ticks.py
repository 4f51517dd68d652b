"""The end of a tick: what it found goes into the database in one transaction of a constant number of statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from b3lb.metrics.histograms import POLL_BOUNDS, RUNTIME_BOUNDS, bucket_counts


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick found.

    ``tick_at`` is the time the tick was due, ``started_at`` when it began, both by the database's clock; ``seconds`` is
    its duration. ``summary`` is a small JSON object for people. ``write`` stores what changed, by a constant number of
    statements, and returns how many rows were written; None: nothing changed. ``polls`` are the durations of the tick's
    polls of nodes, in seconds.
    """

    namespace: str
    task: str
    tick_at: datetime
    started_at: datetime
    seconds: float
    summary: Mapping[str, Any] = field(default_factory=dict)
    write: Callable[[sa.Connection], int] | None = None
    polls: Sequence[float] = ()


def _total(counts: sa.Column[Any], more: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    """Return the sum of two lists of counts, bucket by bucket; the shorter one ends with zeros."""
    buckets = (
        sa.func.unnest(counts, more)
        .table_valued("old", "new", with_ordinality="place", name="buckets")
        .render_derived()
    )
    both = sa.func.coalesce(buckets.c.old, 0) + sa.func.coalesce(buckets.c.new, 0)
    summed = sa.func.array_agg(postgresql.aggregate_order_by(both, buckets.c.place))
    return sa.select(sa.func.coalesce(summed, sa.text("'{}'::bigint[]"))).scalar_subquery()


_counts = postgresql.ARRAY(sa.BigInteger)
_INSERT = postgresql.insert(heartbeats).values(
    namespace=sa.bindparam("namespace"),
    task=sa.bindparam("task"),
    tick_at=sa.bindparam("tick_at", type_=sa.TIMESTAMP(timezone=True)),
    started_at=sa.bindparam("started_at", type_=sa.TIMESTAMP(timezone=True)),
    finished_at=sa.func.clock_timestamp(),
    holder=sa.bindparam("holder"),
    token=sa.bindparam("token"),
    summary=sa.cast(sa.bindparam("summary", type_=sa.Text), postgresql.JSONB),
    runtime_counts=sa.bindparam("runtime_counts", type_=_counts),
    poll_counts=sa.bindparam("poll_counts", type_=_counts),
    runtime_seconds=sa.bindparam("runtime_seconds", type_=sa.Double),
    poll_seconds=sa.bindparam("poll_seconds", type_=sa.Double),
)
_HEARTBEAT = _INSERT.on_conflict_do_update(
    index_elements=[heartbeats.c.namespace, heartbeats.c.task],
    set_={
        **{
            name: _INSERT.excluded[name]
            for name in ("tick_at", "started_at", "finished_at", "holder", "token", "summary")
        },
        **{name: _total(heartbeats.c[name], _INSERT.excluded[name]) for name in ("runtime_counts", "poll_counts")},
        **{name: heartbeats.c[name] + _INSERT.excluded[name] for name in ("runtime_seconds", "poll_seconds")},
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
    runtimes: Sequence[float] = (),
    polls: Sequence[float] = (),
) -> None:
    """Note that a tick of ``task`` ended now; the newest one stands.

    Args:
        connection: Within a transaction.
        namespace: The farm.
        task: The task.
        tick_at: When the tick was due.
        started_at: When it began.
        lease: Under which it was done.
        summary: Numbers about it.
        runtimes: Its duration, in seconds; added to what all ticks before it took.
        polls: Durations of its polls of nodes, in seconds; added as well.
    """
    parameters = {
        "namespace": namespace,
        "task": task,
        "tick_at": tick_at,
        "started_at": started_at,
        "holder": lease.holder,
        "token": lease.token,
        "summary": dump(summary),
        "runtime_counts": bucket_counts(runtimes, RUNTIME_BOUNDS),
        "poll_counts": bucket_counts(polls, POLL_BOUNDS) if polls else [],
        "runtime_seconds": sum(runtimes),
        "poll_seconds": sum(polls),
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
        runtimes=[tick.seconds],
        polls=tick.polls,
    )
    if run_id is not None:
        record_tick(connection, run_id, seconds=tick.seconds)
    if written:
        notify(connection, tick.namespace)
    if give_back:
        release(connection, lease)
    return written
