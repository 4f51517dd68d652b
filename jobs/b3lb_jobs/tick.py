"""One tick of one task: lease, load, work, and one writing transaction under the lease."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from b3lb.db.leases import Lease, acquire, release
from b3lb.db.tables import heartbeats
from b3lb.db.ticks import Tick, finish_tick
from b3lb.logs import get_logger
from b3lb_jobs.database import Database
from b3lb_jobs.errors import TransientError
from b3lb_jobs.interface import Task
from b3lb_jobs.report import TaskReport
from b3lb_jobs.ticks import Plan, end_of_tick

WRITE_SECONDS = 3.0
"""Kept free between the end of the work and the end of the run, for writing."""

LEASE_SPARE_SECONDS = 5.0
"""A lease outlives the work by this much: enough for a reconnect, and a dead holder blocks for little longer."""

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
    """A tick that is ours: its lease, what the task loaded, and how long the work may take."""

    lease: Lease
    loaded: Any
    seconds: float


async def run_tick(task: Task[Any], report: TaskReport, at: datetime, place: TickPlace) -> None:
    """Do the tick due at ``at``, unless another run did it or is doing it, and count it in ``report``.

    Raises:
        TransientError: Nothing was written; the next tick may succeed.
        PermanentError: Nothing was written, nor will it ever be; or it was, and the task has to end by its failure.
    """
    clock = place.database.clock
    begun, started_at = clock.monotonic(), clock.now()
    prepared = _prepare(task, report, at, place)
    if prepared is None:
        return
    try:
        findings = await task.work(prepared.loaded, at=at, seconds=prepared.seconds)
    except BaseException:
        _give_back(place.database, prepared.lease)
        raise
    seconds = clock.monotonic() - begun
    summary = {**findings.summary, "seconds": round(seconds, 3)}
    tick = Tick(
        namespace=place.namespace,
        task=report.entry.name,
        tick_at=at,
        started_at=started_at,
        seconds=seconds,
        summary={**summary, **findings.unpolled.in_summary()},
        states=findings.states,
        guards=findings.guards,
    )
    with place.database.transaction() as connection:
        finish_tick(connection, prepared.lease, tick, run_id=report.run_id)
    report.tick_done(seconds, summary)
    for event in findings.events:
        (_log.warning if event.warning else _log.info)(event.message, **event.fields)
    if findings.failure is not None:
        raise findings.failure


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
        seconds = seconds_for_work(needed, place.database.clock.until(ends_at))
        ttl = math.ceil(seconds + LEASE_SPARE_SECONDS)
        lease = acquire(connection, name, holder=place.holder, ttl_seconds=ttl)
        if lease is None:
            raise TransientError(f"the lease {name} was taken away")
        return _Prepared(lease, loaded, seconds)


def _give_back(database: Database, lease: Lease) -> None:
    """Release the lease of a tick that is given up; if that fails, the lease expires by itself."""
    try:
        with database.transaction(seconds=_STOPPING_SECONDS) as connection:
            release(connection, lease)
    except TransientError as error:
        _log.info("lease not released; it expires by itself", lease=lease.name, reason=str(error))
