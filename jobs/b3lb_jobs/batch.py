"""A pod's work on several enqueued runs: each in a process of its own, so that memory and crashes stay apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any
from uuid import UUID

from b3lb.db.schema import check_schema
from b3lb.db.task_attempts import end_attempt
from b3lb.db.task_queue import BatchedRun, read_batch
from b3lb.logs import get_logger
from b3lb.release import RetryPolicy
from b3lb_jobs.database import Database
from b3lb_jobs.enqueued import attempt_end, patiently
from b3lb_jobs.errors import Outcome, TransientError
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.options import RunOptions

LOOK_SECONDS = 2.0
"""So often it is asked whether a run was revoked."""

STOP_SECONDS = 10.0
"""So long a process that is to stop may take until it is killed."""

_POLL_SECONDS = 0.1

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """Which Job's runs, how many side by side, the hard limit of each in seconds, and what a dead one's end is."""

    job_name: str
    side_by_side: int
    hard_seconds: float
    retry: RetryPolicy
    run: RunOptions


@dataclass(slots=True)
class _Child:
    """A run at work; ``end`` is set when we stopped it, ``kill_at`` when it has to be gone."""

    member: BatchedRun
    process: subprocess.Popen[bytes]
    ends_at: float
    end: Outcome | None = None
    kill_at: float | None = None


@dataclass(slots=True)
class _Batch:
    options: BatchOptions
    database: Database
    command: Callable[[UUID], Sequence[str]]
    waiting: list[BatchedRun] = field(default_factory=list)
    children: list[_Child] = field(default_factory=list)
    stopped: signal.Signals | None = None
    codes: dict[str, int] = field(default_factory=dict)

    def work(self) -> None:
        """Work on all of them until they are over, or until we are to stop."""
        look_at = time.monotonic() + LOOK_SECONDS
        while self.children or (self.waiting and self.stopped is None):
            self._start()
            time.sleep(_POLL_SECONDS)
            if self.stopped is not None:
                self._stop_all()
            elif time.monotonic() >= look_at:
                self._drop_revoked()
                look_at = time.monotonic() + LOOK_SECONDS
            for child in list(self.children):
                self._watch(child)

    def end(self) -> None:
        """Leave no process behind, whatever went wrong."""
        for child in self.children:
            child.process.kill()
            child.process.wait()

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        self.stopped = signal.Signals(number)

    def _start(self) -> None:
        while self.stopped is None and self.waiting and len(self.children) < self.options.side_by_side:
            member = self.waiting.pop(0)
            environment = {**os.environ, "B3LB_ATTEMPT": str(member.attempt)}
            environment.pop("B3LB_JOB_NAME", None)
            process = subprocess.Popen(list(self.command(member.id)), env=environment)
            self.children.append(_Child(member, process, time.monotonic() + self.options.hard_seconds))

    def _watch(self, child: _Child) -> None:
        now = time.monotonic()
        code = child.process.poll()
        if code is None:
            if child.end is None and now >= child.ends_at:
                error = f"the hard time limit of {self.options.hard_seconds:g} s is over"
                child.end = Outcome("FAILURE", ExitCode.INTERNAL, error)
                child.process.kill()
            elif child.kill_at is not None and now >= child.kill_at:
                child.process.kill()
            return
        self.children.remove(child)
        self.codes[str(child.member.id)] = code
        if self.stopped is None and code != ExitCode.DONE:
            self._note(child, code)

    def _note(self, child: _Child, code: int) -> None:
        """Note the end of a process that could not do so itself; what it noted stands."""
        word = f"was killed by signal {-code}" if code < 0 else f"ended without a word (exit code {code})"
        outcome = child.end or Outcome("RETRY", ExitCode.TRANSIENT, f"its process {word}")
        _, end = attempt_end(outcome, self.options.retry, attempt=child.member.attempt)

        def write() -> None:
            with self.database.transaction() as connection:
                end_attempt(connection, child.member.id, attempt=child.member.attempt, end=end)

        patiently(write)

    def _drop_revoked(self) -> None:
        """Stop what is over already: revoked, mostly."""
        try:
            with self.database.transaction(read_only=True) as connection:
                left = {member.id for member in read_batch(connection, self.options.job_name)}
        except TransientError as error:
            _log.warning("it is not known whether a run was revoked", reason=str(error))
            return
        self.waiting = [member for member in self.waiting if member.id in left]
        for child in self.children:
            if child.member.id not in left:
                self._stop(child)

    def _stop_all(self) -> None:
        for child in self.children:
            self._stop(child)

    def _stop(self, child: _Child) -> None:
        if child.kill_at is None:
            child.kill_at = time.monotonic() + STOP_SECONDS
            with suppress(ProcessLookupError):
                child.process.terminate()


def run_batch(
    options: BatchOptions,
    command: Callable[[UUID], Sequence[str]] = lambda run_id: (sys.executable, "-m", "b3lb_jobs", "--run", str(run_id)),
) -> tuple[Outcome, dict[str, Any]]:
    """Work on all runs of a Job to their ends; return how that went, and a summary for log and termination message.

    Runs that have not ended when the pod is stopped or dies are the operator's, as if each had had its own pod.

    Raises:
        TransientError: The database is away.
    """
    database = Database(
        options.run.database_url,
        application_name=f"b3lb-job {options.run.queue}",
        monotonic=time.monotonic,
        keepalive=options.run.keepalive,
    )
    batch = _Batch(options, database, command)

    def claim() -> list[BatchedRun]:
        with database.transaction() as connection:
            check_schema(connection)
            return read_batch(connection, options.job_name)

    before = {number: signal.signal(number, batch.stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        batch.waiting = patiently(claim)
        batch.work()
    finally:
        batch.end()
        for number, handler in before.items():
            signal.signal(number, handler)
        database.close()
    outcome = Outcome("SUCCESS", ExitCode.DONE)
    if batch.stopped is not None:
        code = ExitCode.INTERRUPTED if batch.stopped == signal.SIGINT else ExitCode.STOPPED
        outcome = Outcome("RETRY", code, f"stopped by {batch.stopped.name}")
    return outcome, _summary(options, outcome, batch.codes)


def _summary(options: BatchOptions, outcome: Outcome, codes: dict[str, int]) -> dict[str, Any]:
    return {
        "state": outcome.state,
        "exit_code": int(outcome.exit_code),
        "error": outcome.error,
        "namespace": options.run.namespace,
        "queue": options.run.queue,
        "pod": options.run.pod,
        "job": options.job_name,
        "runs": codes,
    }
