"""Queues and their tasks as people and programs are shown them: pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from b3lb.db.task_runs import TaskState
from b3lb.db.work import HourEnds, TaskEnds
from b3lb.metrics.queues import TaskTicks, TaskTotal
from b3lb.views.values import Document, from_epoch, timestamp

HOURS = 24
"""So many hours of the clock a history shows, the present one included."""

_DIGITS = 6


class RoutedTask(NamedTuple):
    """A task in a queue."""

    namespace: str
    queue: str
    task: str


@dataclass(frozen=True, slots=True)
class Ends:
    """How many runs ended well or not in the last hour and in the last 24."""

    succeeded_1h: int = 0
    failed_1h: int = 0
    succeeded_24h: int = 0
    failed_24h: int = 0

    @classmethod
    def of(cls, ends: Iterable[TaskEnds]) -> Ends:
        """Return the sum over tasks."""
        found = list(ends)
        return cls(
            sum(task.succeeded_1h for task in found),
            sum(task.failed_1h for task in found),
            sum(task.succeeded_24h for task in found),
            sum(task.failed_24h for task in found),
        )

    def as_json(self) -> dict[str, int]:
        """Return the numbers by the names that they have in documents."""
        return {
            "succeeded1h": self.succeeded_1h,
            "failed1h": self.failed_1h,
            "succeeded24h": self.succeeded_24h,
            "failed24h": self.failed_24h,
        }


def stats_items(totals: Iterable[TaskTotal], ticks: Iterable[TaskTicks], ends: Iterable[TaskEnds]) -> list[Document]:
    """Return what became of the runs of each task in each queue, sorted.

    Args:
        totals: How many ever came into each state.
        ticks: When a tick last ended.
        ends: How those of the last day ended.
    """
    counted: dict[RoutedTask, dict[str, int]] = defaultdict(dict)
    for total in totals:
        counted[RoutedTask(total.namespace, total.queue, total.task)][total.state] = total.runs
    ended = {RoutedTask(end.namespace, end.queue, end.task): end for end in ends}
    ticked = {RoutedTask(tick.namespace, tick.queue, tick.task): tick.finished_at for tick in ticks}
    return [
        _stats_item(
            task,
            counted.get(task, {}),
            ended.get(task, TaskEnds(namespace=task.namespace, queue=task.queue, task=task.task)),
            from_epoch(ticked.get(task)),
        )
        for task in sorted(counted.keys() | ended.keys())
    ]


def _stats_item(task: RoutedTask, counted: dict[str, int], ends: TaskEnds, ticked_at: datetime | None) -> Document:
    last = [moment for moment in (ends.last_finished_at, ticked_at) if moment is not None]
    return {
        **task._asdict(),
        **{state.lower(): counted.get(state, 0) for state in TaskState},
        **Ends.of([ends]).as_json(),
        "p50Seconds": _rounded(ends.p50_seconds),
        "p95Seconds": _rounded(ends.p95_seconds),
        "lastFinishedAt": timestamp(max(last, default=None)),
    }


def history_items(hours: Sequence[HourEnds], *, now: datetime) -> list[Document]:
    """Return how runs of each task in each queue ended in each of the last `HOURS` hours of the clock, sorted.

    Args:
        hours: What is known; hours without a run may be missing, those that are older are left out.
        now: The present time, which the last hour holds.
    """
    first = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    known = {(RoutedTask(hour.namespace, hour.queue, hour.task), hour.start): hour for hour in hours}
    starts = [first + timedelta(hours=number) for number in range(HOURS)]
    return [
        {**task._asdict(), "buckets": [_bucket(start, known.get((task, start))) for start in starts]}
        for task in sorted({task for task, _ in known})
    ]


def _bucket(start: datetime, hour: HourEnds | None) -> Document:
    return {
        "start": timestamp(start),
        "succeeded": 0 if hour is None else hour.succeeded,
        "failed": 0 if hour is None else hour.failed,
        "p50Seconds": None if hour is None else _rounded(hour.p50_seconds),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, _DIGITS)
