"""A pod's work on one enqueued run: claim it, do it within its time, note its end, whatever that is."""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from b3lb.db.chunks import begin_chunk, end_chunk
from b3lb.db.schema import check_schema
from b3lb.db.task_attempts import AttemptEnd, ClaimedRun, begin_attempt, end_attempt
from b3lb.db.task_runs import TaskState
from b3lb.logs import get_logger
from b3lb.release import RetryPolicy, retry_after
from b3lb_jobs.database import Database
from b3lb_jobs.errors import Outcome, PermanentError, TransientError, outcome_of
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.interruptions import Interruptions, StoppedError
from b3lb_jobs.on_demand import RunContext
from b3lb_jobs.options import RunOptions
from b3lb_jobs.progress import ProgressWriter
from b3lb_jobs.report import SUCCESS
from b3lb_jobs.runner import run
from b3lb_jobs.task_table import TaskEntry, entry_of

PATIENCE_SECONDS = 20.0
"""So long the database is waited for at the beginning and at the end of a run."""

_PAUSE_SECONDS = 1.0
_STOPS = (ExitCode.STOPPED, ExitCode.INTERRUPTED)

T = TypeVar("T")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedOptions:
    """Which attempt of which run, within how many seconds, and what happens when it fails for a passing reason.

    ``run`` says how to reach the database, and how a task that ticks is run. ``chunk``, from 0 on, is that to work on
    of a run that has chunks.
    """

    run_id: UUID
    attempt: int
    soft_seconds: float
    retry: RetryPolicy
    run: RunOptions
    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class EnqueuedEnding:
    """How the attempt ended, and what is said of that in the log and the termination message."""

    outcome: Outcome
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of the work."""

    outcome: Outcome
    result: Mapping[str, Any] | None = None
    traceback: str | None = None


@dataclass(slots=True)
class _Worker:
    """One attempt."""

    options: EnqueuedOptions
    database: Database
    interruptions: Interruptions
    began: float = field(default_factory=time.monotonic)

    def work(self, claimed: ClaimedRun) -> _Done:
        """Do the work; what happens to it is in the result, not raised."""
        try:
            entry = _known(claimed.task)
            return self._on_demand(entry, claimed) if entry.on_demand else self._ticking(entry, claimed)
        except StoppedError as error:
            return _Done(Outcome("RETRY", error.exit_code, str(error)))
        except Exception as error:  # noqa: BLE001 - the boundary of a task: every fault becomes a state and an exit code
            outcome = outcome_of(error)
            if not outcome.expected:
                _log.error("task failed", task=claimed.task, reason=outcome.error, exc_info=error)
            return _Done(outcome, traceback=None if outcome.expected else traceback.format_exc())

    def _on_demand(self, entry: TaskEntry, claimed: ClaimedRun) -> _Done:
        task = entry.load_on_demand()
        context = RunContext(
            run_id=claimed.id,
            namespace=claimed.namespace,
            queue=claimed.queue,
            attempt=claimed.attempt,
            keys=self.options.run.keys,
            database=self.database,
            seconds_left=lambda: self.began + self.options.soft_seconds - time.monotonic(),
            on_progress=ProgressWriter(self.database, claimed.id, time.monotonic),
            last_attempt=retry_after(claimed.attempt, self.options.retry) is None,
        )
        with self.interruptions.allowed(soft_seconds=self.options.soft_seconds):
            result = task.run(context, claimed.arguments)
        return _Done(SUCCESS, {} if result is None else result)

    def _ticking(self, entry: TaskEntry, claimed: ClaimedRun) -> _Done:
        """Do one tick, now; it has its own deadline."""
        if claimed.arguments:
            raise PermanentError(f"the task {entry.name} takes no arguments")
        base = self.options.run
        options = RunOptions(
            entries=(entry,),
            namespace=claimed.namespace,
            queue=claimed.queue,
            pod=base.pod,
            holder=base.holder,
            database_url=base.database_url,
            keys=base.keys,
            tick_seconds=base.tick_seconds,
            max_in_flight=base.max_in_flight,
            once=True,
            keepalive=base.keepalive,
            run_id=claimed.id,
        )
        ending = asyncio.run(run(options))
        (report,) = ending.reports
        return _Done(ending.outcome, report.as_json(), report.traceback)


def run_enqueued(options: EnqueuedOptions) -> EnqueuedEnding:
    """Work on an attempt of an enqueued run to its end.

    An attempt that is stopped (SIGTERM: its Job was deleted, its node is drained, its hard time limit is over) leaves
    its end to the operator, which knows why.
    """
    database = Database(
        options.run.database_url,
        application_name=f"b3lb-job {options.run.queue}",
        monotonic=time.monotonic,
        keepalive=options.run.keepalive,
    )
    interruptions = Interruptions()
    try:
        with interruptions.caught():
            claimed = patiently(lambda: _claim(database, options))
            if claimed is None:
                outcome = Outcome("REVOKED", ExitCode.DONE, "this attempt is not to be worked on: revoked, or over")
                return EnqueuedEnding(outcome, _summary(options, outcome))
            done = _Worker(options, database, interruptions).work(claimed)
            outcome = _note(database, options, claimed, done)
    except TransientError as error:
        outcome = outcome_of(error)
        return EnqueuedEnding(outcome, _summary(options, outcome))
    finally:
        database.close()
    return EnqueuedEnding(outcome, _summary(options, outcome, claimed.task))


def _known(task: str) -> TaskEntry:
    entry = entry_of(task)
    if entry is None:
        raise PermanentError(f"this image has no task {task}")
    return entry


def _claim(database: Database, options: EnqueuedOptions) -> ClaimedRun | None:
    with database.transaction() as connection:
        check_schema(connection)
        if options.chunk is None:
            return begin_attempt(connection, options.run_id, attempt=options.attempt, pod=options.run.pod)
        return begin_chunk(
            connection, options.run_id, attempt=options.attempt, chunk=options.chunk, pod=options.run.pod
        )


def _note(database: Database, options: EnqueuedOptions, claimed: ClaimedRun, done: _Done) -> Outcome:
    """Write the attempt's end and return it as it is then.

    Raises:
        TransientError: The database is away; the operator finds a pod that ended without a word.
    """
    if done.outcome.exit_code in _STOPS:
        return done.outcome
    outcome, end = attempt_end(
        done.outcome, options.retry, attempt=claimed.attempt, result=done.result, trace=done.traceback
    )

    def write() -> None:
        with database.transaction() as connection:
            if options.chunk is None:
                end_attempt(connection, claimed.id, attempt=claimed.attempt, end=end, pod=options.run.pod)
            else:
                end_chunk(connection, claimed.id, attempt=claimed.attempt, end=end)

    patiently(write)
    return outcome


def attempt_end(
    outcome: Outcome,
    policy: RetryPolicy,
    *,
    attempt: int,
    result: Mapping[str, Any] | None = None,
    trace: str | None = None,
    chance: Callable[[], float] = random.random,
) -> tuple[Outcome, AttemptEnd]:
    """Return the end of an attempt as it is told and as it is stored: a passing fault is tried again, if it may be."""
    error, state = outcome.error, TaskState(outcome.state)
    pause = None
    if state is TaskState.RETRY:
        pause = retry_after(attempt, policy, countdown=outcome.countdown, chance=chance())
        if pause is None and outcome.granted:
            pause = outcome.countdown or 0.0
        if pause is None:
            state, error = TaskState.FAILURE, f"{error} (attempt {attempt}, the last one)"
    end = AttemptEnd(state=state, retry_seconds=pause, result=result, error=error, traceback=trace)
    return Outcome(state.value, outcome.exit_code, error, outcome.expected, outcome.countdown, outcome.granted), end


def patiently(call: Callable[[], T]) -> T:
    """Call until it works or patience ends.

    Raises:
        TransientError: Patience has ended; the message is the last fault's.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call()
        except TransientError as error:
            if time.monotonic() + _PAUSE_SECONDS >= deadline:
                raise TransientError(f"gave up: {error}") from error
        time.sleep(_PAUSE_SECONDS)


def _summary(options: EnqueuedOptions, outcome: Outcome, task: str | None = None) -> dict[str, Any]:
    return {
        "state": outcome.state,
        "exit_code": int(outcome.exit_code),
        "error": outcome.error,
        "namespace": options.run.namespace,
        "queue": options.run.queue,
        "pod": options.run.pod,
        "run": str(options.run_id),
        "attempt": options.attempt,
        **({} if options.chunk is None else {"chunk": options.chunk}),
        "task": task,
    }
