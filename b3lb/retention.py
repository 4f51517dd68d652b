"""How long the history of task runs is kept: a pure function."""

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
