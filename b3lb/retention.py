"""How long rows are kept that nothing needs any more, and which task runs are forgotten: pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID


@dataclass(frozen=True, slots=True)
class HistoryPolicy:
    """Of each task's finished runs those of the last ``days`` are kept, but at most ``rows``."""

    days: int = 30
    rows: int = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPolicy:
    """After how many days rows go, each counted from the end of what the row tells of.

    Attributes:
        deleted: Configuration of objects that were deleted, with all that was noted of them: lists, statistics and
            metrics texts. Until then an object that comes back finds its counters again.
        meetings: Meetings that ended.
        callbacks: Callbacks that were delivered or given up.
        runs: Runs of a schedule's pods that nobody ever noted the end of.
        accounting: A deleted tenant that was accounted for, with its secrets' counters; 13 months, so that the last
            year can be billed.
        audit: Lines of the audit.
    """

    deleted: int = 30
    meetings: int = 30
    callbacks: int = 30
    runs: int = 30
    accounting: int = 400
    audit: int = 400


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that ended; ``place`` is 1 for the newest of its task and grows with age."""

    id: UUID
    finished_at: datetime
    place: int


def expired_runs(runs: Iterable[FinishedRun], policy: HistoryPolicy, now: datetime) -> list[UUID]:
    """Return the runs that are not to be kept, oldest first."""
    oldest = now - timedelta(days=policy.days)
    expired = [run for run in runs if run.finished_at < oldest or run.place > policy.rows]
    return [run.id for run in sorted(expired, key=lambda run: (run.finished_at, run.id))]
