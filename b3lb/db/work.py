"""The work of some namespaces at a glance: runs that are not over, the latest ones, and how the last day's ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.run_history import TaskRun, latest_runs
from b3lb.db.task_runs import SILENT_DAYS, TaskState

MOST_OPEN = 1_000
"""So many runs at work are read at most, and as many that wait; one more tells that there are more."""

LARGEST_SHOWN = 2_048
"""Arguments and results of more bytes are not in a list; whoever asks for the run gets them."""

RECENT = 50
"""So many of the latest runs are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that is not over: at work (STARTED), or waiting; ``priority`` is None where the queue's counts.

    ``job_name`` is that of a Job that it shares with other runs or of a render, None where it follows from run and
    attempt, ``parent`` what it is a step of. A chain, a group or chunks as a whole are at work in their steps only.
    """

    id: UUID
    namespace: str
    queue: str
    task: str
    state: str
    pod: str
    attempts: int
    enqueued: bool
    priority: int | None
    created_at: datetime
    not_before: datetime | None
    started_at: datetime | None
    job_name: str | None = None
    parent: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnds:
    """How runs of a task in a queue ended in the last hour and in the last 24.

    The percentiles are of the durations in seconds of the last 24 hours, of a task that ticks those of each pod's last
    tick; None without any. ``last_finished_at`` is within the last 24 hours.
    """

    namespace: str
    queue: str
    task: str
    succeeded_1h: int = 0
    failed_1h: int = 0
    succeeded_24h: int = 0
    failed_24h: int = 0
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    last_finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HourEnds:
    """How runs of a task in a queue ended in an hour of the clock (UTC) that begins at ``start``."""

    namespace: str
    queue: str
    task: str
    start: datetime
    succeeded: int
    failed: int
    p50_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of some namespaces.

    ``at_work`` and ``waiting`` hold at most `MOST_OPEN` runs and one, ``recent`` the latest runs, newest first.
    """

    at_work: Sequence[OpenRun] = field(default_factory=tuple)
    waiting: Sequence[OpenRun] = field(default_factory=tuple)
    ends: Sequence[TaskEnds] = field(default_factory=tuple)
    hours: Sequence[HourEnds] = field(default_factory=tuple)
    recent: Sequence[TaskRun] = field(default_factory=tuple)


_COLUMNS = ", ".join(column.name for column in fields(OpenRun))
_OPEN = sa.text(
    f"""
    (SELECT {_COLUMNS} FROM task_runs
    WHERE namespace = ANY(:namespaces) AND finished_at IS NULL AND state = 'STARTED' AND workflow IS NULL
        AND (enqueued OR created_at > clock_timestamp() - make_interval(days => :silent_days))
    ORDER BY started_at, id LIMIT :most)
    UNION ALL
    (SELECT {_COLUMNS} FROM task_runs
    WHERE namespace = ANY(:namespaces) AND finished_at IS NULL AND state <> 'STARTED' AND enqueued
    ORDER BY coalesce(not_before, created_at), created_at, id LIMIT :most)
    """  # noqa: S608 - the columns are of this program
)
_ENDS = sa.text(
    """
    WITH ended AS (
        SELECT namespace, queue, task, state, finished_at, date_trunc('hour', finished_at, 'UTC') AS hour,
            finished_at > clock_timestamp() - interval '1 hour' AS late,
            CASE WHEN ticks > 0 THEN last_tick_seconds
                ELSE extract(epoch FROM finished_at - started_at) END AS seconds
        FROM task_runs
        WHERE namespace = ANY(:namespaces) AND state IN ('SUCCESS', 'FAILURE')
            AND finished_at > clock_timestamp() - interval '24 hours'
    )
    SELECT namespace, queue, task, hour,
        count(*) FILTER (WHERE state = 'SUCCESS') AS succeeded,
        count(*) FILTER (WHERE state = 'FAILURE') AS failed,
        count(*) FILTER (WHERE state = 'SUCCESS' AND late) AS succeeded_1h,
        count(*) FILTER (WHERE state = 'FAILURE' AND late) AS failed_1h,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50_seconds,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_seconds,
        max(finished_at) AS last_finished_at
    FROM ended GROUP BY GROUPING SETS ((namespace, queue, task), (namespace, queue, task, hour))
    ORDER BY namespace, queue, task, hour
    """
)


def read_work(connection: sa.Connection, namespaces: Sequence[str]) -> Work:
    """Return the work of ``namespaces``: three statements, whatever there is."""
    given = list(namespaces)
    found = [
        OpenRun(**row)
        for row in connection.execute(
            _OPEN, {"namespaces": given, "silent_days": SILENT_DAYS, "most": MOST_OPEN + 1}
        ).mappings()
    ]
    rows = connection.execute(_ENDS, {"namespaces": given}).mappings().all()
    return Work(
        at_work=[run for run in found if run.state == TaskState.STARTED],
        waiting=[run for run in found if run.state != TaskState.STARTED],
        ends=[_task_ends(row) for row in rows if row["hour"] is None],
        hours=[_hour_ends(row) for row in rows if row["hour"] is not None],
        recent=latest_runs(connection, given, most=RECENT, largest=LARGEST_SHOWN),
    )


def _task_ends(row: Mapping[Any, Any]) -> TaskEnds:
    names = ("namespace", "queue", "task", "succeeded_1h", "failed_1h", "p50_seconds", "p95_seconds")
    return TaskEnds(
        **{name: row[name] for name in names},
        succeeded_24h=row["succeeded"],
        failed_24h=row["failed"],
        last_finished_at=row["last_finished_at"],
    )


def _hour_ends(row: Mapping[Any, Any]) -> HourEnds:
    names = ("namespace", "queue", "task", "succeeded", "failed", "p50_seconds")
    return HourEnds(**{name: row[name] for name in names}, start=row["hour"])
