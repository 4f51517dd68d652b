"""The beginning of a run: reach the database, check its schema, read the queue, note the task runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from b3lb.db import task_runs
from b3lb.db.schema import check_schema
from b3lb.db.tables import clusters, nodes, queues, record_profiles, secrets, tenants
from b3lb_jobs.database import Database
from b3lb_jobs.errors import PermanentError, TransientError
from b3lb_jobs.interface import TaskContext
from b3lb_jobs.options import DEFAULT_IN_FLIGHT, RunOptions
from b3lb_jobs.report import TaskReport
from b3lb_jobs.ticks import DATABASE_SPARE_SECONDS, DEFAULT_TICK_SECONDS, LATE_RUN, plan_run

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 4.0

_QUEUE = sa.select(queues.c.tick_seconds, queues.c.max_in_flight).where(
    queues.c.namespace == sa.bindparam("namespace"),
    queues.c.name == sa.bindparam("name"),
    queues.c.deleted_at.is_(None),
)
_NAMESPACES = sa.union(
    *[sa.select(table.c.namespace) for table in (clusters, nodes, queues, tenants, secrets, record_profiles)]
)
MOST_NAMES = 10


@dataclass(frozen=True, slots=True)
class _Row:
    """What the queue's row decides; an absent row decides nothing."""

    tick_seconds: int | None = None
    max_in_flight: int | None = None


async def open_run(database: Database, options: RunOptions, reports: Sequence[TaskReport]) -> TaskContext:
    """Try until it works or the run's time is over; return what the tasks may know.

    Args:
        database: Not connected yet.
        options: The run.
        reports: The tasks whose runs are noted; none for a dry run, which then writes nothing.

    Raises:
        TransientError: The time is over; the message is the last fault's.
        PermanentError: The namespace has no configuration, but others have: its name is misspelt.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience(datetime.now(UTC), once=options.once)
    database.end_by(deadline + DATABASE_SPARE_SECONDS)
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return _open(database, options, reports)
        except TransientError as error:
            if loop.time() + pause >= deadline:
                raise TransientError(f"gave up: {error}") from error
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def patience(now: datetime, *, once: bool) -> float:
    """Return the seconds for which a run waits for its database: until its slot ends, or 10 s by hand.

    Args:
        now: By this machine's clock, for the database's cannot be asked.
        once: Whether the run is bound to no slot.
    """
    return LATE_RUN.total_seconds() if once else (plan_run(now, DEFAULT_TICK_SECONDS).ends_at - now).total_seconds()


def _open(database: Database, options: RunOptions, reports: Sequence[TaskReport]) -> TaskContext:
    with database.transaction(read_only=not reports) as connection:
        check_schema(connection)
        found = connection.execute(_QUEUE, {"namespace": options.namespace, "name": options.queue}).one_or_none()
        if found is None:
            _check_namespace(connection, options.namespace)
        row = _Row() if found is None else _Row(found.tick_seconds, found.max_in_flight)
        context = TaskContext(
            namespace=options.namespace,
            keys=options.keys,
            tick_seconds=options.tick_seconds or row.tick_seconds or DEFAULT_TICK_SECONDS,
            max_in_flight=options.max_in_flight or row.max_in_flight or DEFAULT_IN_FLIGHT,
            now=database.clock.now,
            dry_run=options.dry_run,
        )
        for report in reports:
            task_runs.start(
                connection,
                report.run_id,
                namespace=options.namespace,
                queue=options.queue,
                task=report.entry.name,
                pod=options.pod,
                arguments={
                    "tick_seconds": context.tick_seconds,
                    "max_in_flight": context.max_in_flight,
                    "once": options.once,
                },
            )
    return context


def _check_namespace(connection: sa.Connection, namespace: str) -> None:
    """Make sure, where no queue vouches for it, that the operator knows the namespace.

    Raises:
        PermanentError: It knows only others. In a database without any configuration nothing can be said.
    """
    known = sorted(connection.scalars(_NAMESPACES))
    if known and namespace not in known:
        more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
        names = ", ".join(known[:MOST_NAMES]) + more
        raise PermanentError(f"the database has no configuration of the namespace {namespace!r}; it has: {names}")
