"""One tick of one task: lease, load, work, and one writing transaction under the lease."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from b3lb.db.leases import LONGEST_LEASE_SECONDS, Lease, acquire, release
from b3lb.db.tables import heartbeats
from b3lb.db.ticks import Tick, finish_tick
from b3lb.logs import get_logger
from b3lb_jobs.database import Database
from b3lb_jobs.errors import TransientError
from b3lb_jobs.holding import Holding
from b3lb_jobs.interface import Task
from b3lb_jobs.report import TaskReport
from b3lb_jobs.ticks import DATABASE_SPARE_SECONDS, LONGEST_RUN, Plan, end_of_tick

WRITE_SECONDS = 3.0
"""Kept free between the end of the work and the end of the run, for writing."""

LEASE_SPARE_SECONDS = 5.0
"""A lease outlives the work by this much: enough for a reconnect, and a dead holder blocks for little longer."""

LASTING = timedelta(seconds=60)
"""A task that can do nothing at all says so in the heartbeat if no tick did better for longer than this.

Before that it leaves no trace but its task run: one run with wrong settings, by hand, must not hide what others know.
"""

_LOADING_SECONDS = 30.0
_STOPPING_SECONDS = 2.0

_LAST_TICK = sa.select(heartbeats.c.tick_at).where(
    heartbeats.c.namespace == sa.bindparam("namespace"), heartbeats.c.task == sa.bindparam("task")
)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TickPlace:
    """Where a tick happens: for whom, by whom, and in which run."""

    database: Database
    namespace: str
    holder: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A tick that is ours: its lease, what the task loaded, how long the work may take, and when the last tick was."""

    lease: Lease
    loaded: Any
    seconds: float
    last: datetime | None


def allow_until(database: Database, ends_at: datetime) -> None:
    """Let the database be waited for until a run's end, and a moment longer to note that end."""
    clock = database.clock
    database.end_by(clock.monotonic() + clock.until(ends_at) + DATABASE_SPARE_SECONDS)


async def run_tick(task: Task[Any], report: TaskReport, at: datetime, place: TickPlace) -> None:
    """Do the tick due at ``at``, unless another run did it or is doing it, and count it in ``report``.

    Raises:
        TransientError: Nothing was written; the next tick may succeed.
        PermanentError: Nothing was written, nor will it ever be; or the failure lasts, and the heartbeat says so.
    """
    clock = place.database.clock
    begun, started_at = clock.monotonic(), clock.now()
    prepared = _prepare(task, report, at, place)
    if prepared is None:
        return
    holding = Holding(place.database, prepared.lease)
    try:
        work = task.work(prepared.loaded, at=at, seconds=prepared.seconds)
        outlasts = prepared.seconds + LEASE_SPARE_SECONDS > LONGEST_LEASE_SECONDS
        findings = await (holding.during(work) if outlasts else work)
    except BaseException:
        _give_back(place.database, holding.lease)
        raise
    seconds = clock.monotonic() - begun
    summary = {**findings.summary, "seconds": round(seconds, 3)}
    if findings.failure is not None and not _lasts(prepared.last, at):
        _give_back(place.database, holding.lease)
        report.summary = summary
        raise findings.failure
    tick = Tick(
        namespace=place.namespace,
        task=report.entry.name,
        # Of a failing task the last good tick stays the last one.
        tick_at=at if findings.failure is None or prepared.last is None else prepared.last,
        started_at=started_at,
        seconds=seconds,
        summary={**summary, **findings.unpolled.in_summary()},
        write=findings.write,
        polls=findings.poll_seconds,
    )
    with place.database.transaction() as connection:
        finish_tick(connection, holding.lease, tick, run_id=report.run_id)
    report.tick_done(seconds, summary)
    for event in findings.events:
        (_log.warning if event.warning else _log.info)(event.message, **event.fields)
    if findings.failure is not None:
        raise findings.failure


def _lasts(last: datetime | None, at: datetime) -> bool:
    """Whether a failure at ``at`` lasts, the ``last`` good tick having been then."""
    return last is None or at - last > LASTING


def seconds_for_work(needed: float, left: float) -> float:
    """Return how long the work may take: what it needs, but never into the time that writing takes.

    Args:
        needed: Seconds that the work takes at worst.
        left: Seconds until the run has to be over.
    """
    return max(0.0, min(needed, left - WRITE_SECONDS))


def _prepare(task: Task[Any], report: TaskReport, at: datetime, place: TickPlace) -> _Prepared | None:
    """Take the lease and load in one transaction; None if the tick is another run's or does not fit.

    The lease comes first, so that nothing is loaded that its former holder is about to overwrite; its final length is
    known only after loading.
    """
    name = f"{report.entry.name}/{place.namespace}"
    with place.database.transaction() as connection:
        if acquire(connection, name, holder=place.holder, ttl_seconds=_LOADING_SECONDS) is None:
            report.tick_skipped(held=True)
            return None
        last = connection.execute(
            _LAST_TICK, {"namespace": place.namespace, "task": report.entry.name}
        ).scalar_one_or_none()
        if last is not None and last > at + LONGEST_RUN:
            # Noted before the database's clock was set back, or by another one: it says nothing about this tick.
            _log.warning(
                "the last tick is in the future and does not count", tick=at.isoformat(), last=last.isoformat()
            )
            last = None
        if last is not None and last >= at:
            report.tick_skipped(held=False)
            connection.rollback()
            return None
        loaded = task.load(connection, at)
        needed = task.seconds_needed(loaded)
        ends_at = end_of_tick(
            place.plan,
            at,
            now=place.database.clock.now(),
            least=task.least_seconds(loaded) + WRITE_SECONDS,
            most=needed + WRITE_SECONDS,
        )
        if ends_at is None:
            report.missed += 1
            connection.rollback()
            return None
        # The end gives way for a first tick that does not fit.
        allow_until(place.database, ends_at)
        seconds = seconds_for_work(needed, place.database.clock.until(ends_at))
        ttl = min(math.ceil(seconds + LEASE_SPARE_SECONDS), LONGEST_LEASE_SECONDS)
        lease = acquire(connection, name, holder=place.holder, ttl_seconds=ttl)
        if lease is None:
            raise TransientError(f"the lease {name} was taken away")
        return _Prepared(lease, loaded, seconds, last)


def _give_back(database: Database, lease: Lease) -> None:
    """Release the lease of a tick that is given up; if that fails, the lease expires by itself."""
    try:
        with database.transaction(seconds=_STOPPING_SECONDS) as connection:
            release(connection, lease)
    except TransientError as error:
        _log.info("lease not released; it expires by itself", lease=lease.name, reason=str(error))
