"""From settings to exit code: everything that ``b3lb-job`` does once its command line is understood."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from b3lb import logs
from b3lb.settings import SettingsError, load_settings
from b3lb_jobs import termination
from b3lb_jobs.batch import BatchOptions, run_batch
from b3lb_jobs.dry_run import dry_run
from b3lb_jobs.enqueued import EnqueuedOptions, run_enqueued
from b3lb_jobs.errors import Outcome
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.options import RunOptions
from b3lb_jobs.report import summary_of
from b3lb_jobs.runner import Ending, run
from b3lb_jobs.settings import JobSettings
from b3lb_jobs.task_table import TaskEntry

_log = logs.get_logger("b3lb_jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The command line; None where it says nothing."""

    entries: tuple[TaskEntry, ...]
    namespace: str | None = None
    queue: str | None = None
    tick_seconds: int | None = None
    max_in_flight: int | None = None
    once: bool = False
    dry_run: bool = False
    run_id: UUID | None = None


def execute(flags: Flags) -> ExitCode:
    """Run what ``flags`` ask for; return the exit code."""
    try:
        settings = load_settings(JobSettings)
    except SettingsError as error:
        outcome = Outcome("FAILURE", ExitCode.CONFIGURATION, str(error))
        sys.stderr.write(f"b3lb-job: {error}\n")
        termination.write({"state": outcome.state, "exit_code": int(outcome.exit_code), "error": outcome.error})
        return outcome.exit_code
    logs.configure(settings.log_format, settings.log_level)
    if flags.run_id is not None:
        return _run_enqueued(flags.run_id, flags, settings)
    options = options_from(flags, settings)
    if flags.dry_run:
        return _dry_run(options)
    ending = asyncio.run(run(options))
    _conclude(ending, options)
    return ending.outcome.exit_code


def options_from(flags: Flags, settings: JobSettings) -> RunOptions:
    """Return the run's options: a flag goes before the environment, and the queue's row comes last."""
    return RunOptions(
        entries=flags.entries,
        namespace=flags.namespace or settings.namespace,
        queue=flags.queue or settings.queue or next((entry.queue for entry in flags.entries), ""),
        pod=settings.pod_name,
        # Two runs in one place, or one that was restarted under its old name, are two holders.
        holder=f"{settings.pod_name}/{uuid4().hex[:12]}",
        database_url=settings.url,
        keepalive=settings.keepalive,
        keys=settings.key_ring,
        tick_seconds=flags.tick_seconds or settings.tick_seconds,
        max_in_flight=flags.max_in_flight or settings.max_in_flight,
        once=flags.once or flags.dry_run,
        dry_run=flags.dry_run,
        max_ticks=settings.max_ticks,
        max_memory_growth_mib=settings.max_memory_growth_mib,
    )


def _run_enqueued(run_id: UUID, flags: Flags, settings: JobSettings) -> ExitCode:
    if settings.job_name is not None:
        return _run_batch(settings.job_name, flags, settings)
    options = EnqueuedOptions(
        run_id=run_id,
        attempt=settings.attempt,
        soft_seconds=settings.soft_time_limit_seconds,
        retry=settings.retry_policy,
        run=options_from(flags, settings),
        chunk=settings.chunk,
    )
    ending = run_enqueued(options)
    return _ended(ending.outcome, ending.summary)


def _run_batch(job_name: str, flags: Flags, settings: JobSettings) -> ExitCode:
    options = BatchOptions(
        job_name=job_name,
        side_by_side=settings.concurrency,
        hard_seconds=settings.time_limit_seconds,
        retry=settings.retry_policy,
        run=options_from(flags, settings),
    )
    return _ended(*run_batch(options))


def _ended(outcome: Outcome, summary: Mapping[str, Any]) -> ExitCode:
    (_log.info if outcome.error is None else _log.warning)("run ended", **summary)
    termination.write(summary)
    return outcome.exit_code


def _dry_run(options: RunOptions) -> ExitCode:
    outcome = asyncio.run(dry_run(options, sys.stdout, table=sys.stdout.isatty()))
    if outcome.error is not None:
        _log.warning("dry run ended", state=outcome.state, exit_code=int(outcome.exit_code), error=outcome.error)
    return outcome.exit_code


def _conclude(ending: Ending, options: RunOptions) -> None:
    """Leave the run's summary as a log line and as the termination message."""
    summary = summary_of(
        ending.outcome, ending.reports, namespace=options.namespace, queue=options.queue, pod=options.pod
    )
    early = {} if ending.ended_early is None else {"ended_early": ending.ended_early}
    _ended(ending.outcome, {**summary, **early})
