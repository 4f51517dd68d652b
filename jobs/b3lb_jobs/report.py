"""What a run says about itself: per task for ``task_runs``, as a whole for the log and the termination message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from b3lb import __version__
from b3lb_jobs.errors import Outcome
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.task_table import TaskEntry

SUCCESS = Outcome("SUCCESS", ExitCode.DONE)


@dataclass(slots=True)
class TaskReport:
    """The ticks of one task in one run.

    ``done`` ticks were written; ``failed`` ones met a transient fault; ``skipped`` ones another run did or is doing;
    ``missed`` ones passed while an earlier tick was at work, or did not fit before the run's end. Before ``not_before``
    the task wants no tick. ``end`` is set when the task's part is over.
    """

    entry: TaskEntry
    run_id: UUID = field(default_factory=uuid4)
    done: int = 0
    failed: int = 0
    skipped: int = 0
    missed: int = 0
    last_seconds: float = 0.0
    longest_seconds: float = 0.0
    summary: Mapping[str, Any] = field(default_factory=dict)
    last_error: str | None = None
    held_elsewhere: bool = False
    not_before: datetime | None = None
    traceback: str | None = None
    end: Outcome | None = None

    def tick_done(self, seconds: float, summary: Mapping[str, Any]) -> None:
        """Count a tick that was written."""
        self.done += 1
        self.last_seconds = seconds
        self.longest_seconds = max(self.longest_seconds, seconds)
        self.summary = summary

    def tick_failed(self, message: str) -> None:
        """Count a tick that met a transient fault."""
        self.failed += 1
        self.last_error = message

    def wants(self, at: datetime) -> bool:
        """Whether the task takes part in the tick due at ``at``."""
        if self.end is not None or (self.done and not self.entry.ticking):
            return False
        return self.not_before is None or self.not_before <= at

    def tick_skipped(self, *, held: bool) -> None:
        """Count a tick that another run did, or is doing if ``held``."""
        self.skipped += 1
        self.held_elsewhere = held

    def end_by(self, outcome: Outcome, traceback: str | None = None) -> None:
        """End the task with an outcome that no further tick changes; only faults of the program keep a traceback."""
        self.end = outcome
        self.last_error = outcome.error
        self.traceback = None if outcome.expected else traceback

    def conclude(self, *, exactly_one: bool) -> None:
        """Decide how the task ends, unless that is decided already.

        A run that wrote nothing although a tick was due is to be tried again: ticks met faults, or each was another
        run's.

        Args:
            exactly_one: Whether the run was to do one tick, by hand.
        """
        if self.end is not None:
            return
        if self.failed and not self.done:
            self.end = Outcome("RETRY", ExitCode.TRANSIENT, self.last_error)
        elif self.skipped and not self.done:
            self.end = Outcome("RETRY", ExitCode.TRANSIENT, self._why_skipped(exactly_one=exactly_one))
        else:
            self.end = SUCCESS

    def _why_skipped(self, *, exactly_one: bool) -> str:
        if self.held_elsewhere:
            return "another run holds the lease of this task"
        did = "this tick in the same moment" if exactly_one else "every tick before this one"
        return f"another run did {did}"

    def as_json(self) -> dict[str, Any]:
        """Return the report for ``task_runs.result``."""
        return {
            "done": self.done,
            "failed": self.failed,
            "skipped": self.skipped,
            "missed": self.missed,
            "last_tick_seconds": round(self.last_seconds, 3),
            "longest_tick_seconds": round(self.longest_seconds, 3),
            "last_error": self.last_error,
            "summary": dict(self.summary),
        }


def overall(reports: Sequence[TaskReport], stopped: Outcome | None) -> Outcome:
    """Return the end of the run: stopped, else the first permanent failure, else a transient one, else success."""
    if stopped is not None:
        return stopped
    ends = [report.end for report in reports if report.end is not None]
    for state in ("FAILURE", "RETRY"):
        found = next((end for end in ends if end.state == state), None)
        if found is not None:
            return found
    return SUCCESS


def summary_of(
    outcome: Outcome, reports: Sequence[TaskReport], *, namespace: str, queue: str, pod: str
) -> dict[str, Any]:
    """Return the summary of a run for its log line and its termination message."""
    tasks = [
        {
            "task": report.entry.name,
            "run": str(report.run_id),
            "state": outcome.state if report.end is None else report.end.state,
            **report.as_json(),
        }
        for report in reports
    ]
    return {
        "state": outcome.state,
        "exit_code": int(outcome.exit_code),
        "error": outcome.error,
        "namespace": namespace,
        "queue": queue,
        "pod": pod,
        "version": __version__,
        "tasks": tasks,
    }
