"""A run from its first connection to its last row: ticks until the slot ends, and always an end that can be read."""

from __future__ import annotations

import asyncio
import signal
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from b3lb.db import task_runs
from b3lb.logs import debugging, get_logger
from b3lb_jobs.clock import DatabaseClock
from b3lb_jobs.database import Database
from b3lb_jobs.errors import Outcome, TransientError, outcome_of
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.interface import Task
from b3lb_jobs.lifetime import Lifetime
from b3lb_jobs.opening import open_run
from b3lb_jobs.options import RunOptions
from b3lb_jobs.report import TaskReport, overall
from b3lb_jobs.task_table import longest_of
from b3lb_jobs.tick import TickPlace, allow_until, run_tick
from b3lb_jobs.ticks import Plan, next_tick, plan_run, plan_single

FINISHING_SECONDS = 3.0

_STOPS = {signal.SIGTERM: ExitCode.STOPPED, signal.SIGINT: ExitCode.INTERRUPTED}
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, what its tasks did, and why it ended before its minute did, if so."""

    outcome: Outcome
    reports: Sequence[TaskReport]
    ended_early: str | None = None


class StopSignals:
    """Turns SIGTERM and SIGINT into a cancellation of the run; repeated ones change nothing.

    The run is then to be tried again (state RETRY): REVOKED is what users do to a task, and the operator writes it.
    """

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self._loop = asyncio.get_running_loop()

    def cancel_on_signal(self, task: asyncio.Task[Any]) -> None:
        """Cancel ``task`` when a signal comes."""
        for number in _STOPS:
            self._loop.add_signal_handler(number, self._stop, number, task)

    def _stop(self, number: signal.Signals, task: asyncio.Task[Any]) -> None:
        if self.outcome is None:
            self.outcome = Outcome("RETRY", _STOPS[number], f"stopped by {number.name}")
            task.cancel()


async def run(options: RunOptions) -> Ending:
    """Run the tasks of ``options`` to their end; whatever happens to them is in the result, not raised."""
    database = Database(
        options.database_url,
        application_name=f"b3lb-job {options.queue}",
        monotonic=asyncio.get_running_loop().time,
        keepalive=options.keepalive,
    )
    reports = [TaskReport(entry, run_id=options.run_id or uuid4()) for entry in options.entries]
    opened = asyncio.Event()
    stop = StopSignals()
    lifetime = Lifetime(options.max_ticks, options.max_memory_growth_mib)
    work = asyncio.create_task(_work(database, options, reports, opened, lifetime))
    stop.cancel_on_signal(work)
    stopped: Outcome | None = None
    try:
        await work
    except asyncio.CancelledError:
        if stop.outcome is None:
            raise
        stopped = stop.outcome
        _end_all(reports, stopped)
    except Exception as error:  # noqa: BLE001 - the boundary of the program: every fault becomes an exit code
        outcome = _explained(error, "run failed")
        _end_all(reports, outcome, traceback.format_exc())
    for report in reports:
        report.conclude(exactly_one=options.once)
    # Who stops us does not wait long: a database that has just been silent is not asked again.
    if opened.is_set() and options.run_id is None and (stopped is None or database.answered):
        _finish(database, reports)
    database.close()
    return Ending(overall(reports, stopped), reports, lifetime.over)


async def follow(plan: Plan, clock: Callable[[], DatabaseClock], tick: Callable[[datetime], Awaitable[bool]]) -> int:
    """Begin the ticks of ``plan`` at their times until ``tick`` returns False; return how many were missed.

    Args:
        plan: The ticks.
        clock: Returns the database's clock as last read.
        tick: Does one tick and returns whether another one is wanted.
    """
    last: datetime | None = None
    begun = 0
    while (at := next_tick(plan.ticks, last, clock().now())) is not None:
        await asyncio.sleep(max(0.0, clock().until(at)))
        if clock().now() >= plan.ends_at:
            # The process was frozen, or the clock was set: this slot belongs to the next run.
            break
        last = at
        begun += 1
        if not await tick(at):
            return plan.ticks.index(at) + 1 - begun
    return len(plan.ticks) - begun


async def _work(
    database: Database,
    options: RunOptions,
    reports: Sequence[TaskReport],
    opened: asyncio.Event,
    lifetime: Lifetime,
) -> None:
    context = await open_run(database, options, reports if options.run_id is None else ())
    opened.set()
    now = database.clock.now()
    ticking = any(report.entry.ticking for report in reports) and not options.once
    plan = plan_run(now, context.tick_seconds) if ticking else plan_single(now, longest_of(options.entries))
    allow_until(database, plan.ends_at)
    place = TickPlace(database, options.namespace, options.holder, plan)
    async with AsyncExitStack() as stack:
        tasks = [(report, await stack.enter_async_context(report.entry.load()(context))) for report in reports]

        async def tick(at: datetime) -> bool:
            for report, task in tasks:
                if report.wants(at):
                    await _guarded_tick(task, report, at, place)
            if ticking and not lifetime.tick_done():
                _log.info("the pod ends early, the next one goes on", reason=lifetime.over)
                return False
            return any(report.end is None for report in reports)

        missed = await follow(plan, lambda: database.clock, tick)
    for report in reports:
        report.missed += missed


async def _guarded_tick(task: Task[Any], report: TaskReport, at: datetime, place: TickPlace) -> None:
    """Do one tick; a transient fault costs this tick, any other one ends the task."""
    try:
        await run_tick(task, report, at, place)
    except Exception as error:  # noqa: BLE001 - the boundary of a task: one that fails must not stop the others
        outcome = outcome_of(error)
        if outcome.state == "RETRY":
            if debugging():
                _log.debug("where the tick failed", task=report.entry.name, exc_info=error)
            report.tick_failed(outcome.error or "")
            _log.warning("tick failed", task=report.entry.name, tick=at.isoformat(), reason=outcome.error)
            if outcome.countdown is not None:
                report.not_before = at + timedelta(seconds=outcome.countdown)
        else:
            report.end_by(_explained(error, "task failed", task=report.entry.name), traceback.format_exc())


def _explained(error: Exception, message: str, **fields: str) -> Outcome:
    """Log a fault, with its traceback if it is the program's or somebody debugs, and return its outcome."""
    outcome = outcome_of(error)
    if outcome.expected and debugging():
        _log.debug("where it failed", exc_info=error, **fields)
    if not outcome.expected:
        _log.error(message, reason=outcome.error, exc_info=error, **fields)
    elif outcome.state == "FAILURE":
        _log.error(message, reason=outcome.error, **fields)
    return outcome


def _end_all(reports: Sequence[TaskReport], outcome: Outcome, trace: str | None = None) -> None:
    for report in reports:
        if report.end is None:
            report.end_by(outcome, trace)


def _finish(database: Database, reports: Sequence[TaskReport]) -> None:
    """Note the ends of the task runs; without a database the operator notes that the pod said nothing."""
    try:
        with database.transaction(seconds=FINISHING_SECONDS) as connection:
            for report in reports:
                if report.end is not None:
                    task_runs.finish(
                        connection,
                        report.run_id,
                        state=task_runs.TaskState(report.end.state),
                        result=report.as_json(),
                        error=report.end.error,
                        traceback=report.traceback,
                    )
    except TransientError as error:
        _log.warning("the end of the run is not noted in the database", reason=str(error))
