"""Families of queues and their tasks: what Celery's exporter and its worker events told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from b3lb.metrics.histograms import RUNTIME_BOUNDS, cumulative_buckets

_QUEUE = ("namespace", "queue")
_TASK = ("namespace", "task", "queue")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSample:
    """A queue now; times are seconds since 1970, UTC.

    ``up``: whether its work gets done. ``waiting`` are runs that did not begin, ``missed`` the slots of the schedule
    without a run. ``oldest_waiting_seconds`` is 0 without any. ``last_success`` is None if there never was one.
    """

    namespace: str
    queue: str
    up: bool
    suspended: bool
    waiting: int
    missed: int
    active: int
    oldest_waiting_seconds: float
    last_success: float | None = None


@dataclass(frozen=True, slots=True)
class EnqueuedRuns:
    """Enqueued runs of a queue: those that wait until a pod works on them, and those at work.

    ``oldest_at`` is since when the oldest one waits (seconds since 1970), None without any.
    """

    waiting: int = 0
    active: int = 0
    oldest_at: float | None = None


@dataclass(frozen=True, slots=True)
class TaskTotal:
    """How many runs of a task ever came into a state."""

    namespace: str
    task: str
    queue: str
    state: str
    runs: int


@dataclass(frozen=True, slots=True)
class TaskTicks:
    """All ticks of a task: counts by bucket of `RUNTIME_BOUNDS`, seconds in all, and the last one's end.

    The end is in seconds since 1970.
    """

    namespace: str
    task: str
    queue: str
    counts: Sequence[int]
    seconds: float
    finished_at: float


def queue_families(queues: Iterable[QueueSample]) -> Iterator[Metric]:
    """Yield the families of the queues themselves."""
    up = GaugeMetricFamily(
        "b3lb_worker_up",
        "Whether the queue is not suspended and, if it has a schedule, a run succeeded within its last three periods",
        labels=_QUEUE,
    )
    suspended = GaugeMetricFamily("b3lb_queue_suspended", "Whether the queue is suspended by its user", labels=_QUEUE)
    length = GaugeMetricFamily(
        "b3lb_queue_length", "Runs that wait for a pod, and slots of the schedule without a run", labels=_QUEUE
    )
    missed = GaugeMetricFamily("b3lb_queue_missed_slots", "Slots of the schedule without a run", labels=_QUEUE)
    active = GaugeMetricFamily("b3lb_queue_active", "Runs whose pod runs", labels=_QUEUE)
    success = GaugeMetricFamily(
        "b3lb_queue_last_success_timestamp_seconds", "When a run of the queue last succeeded", labels=_QUEUE
    )
    oldest = GaugeMetricFamily(
        "b3lb_queue_oldest_waiting_seconds", "For how long the oldest run or slot has been waiting", labels=_QUEUE
    )
    for queue in queues:
        labels = (queue.namespace, queue.queue)
        up.add_metric(labels, float(queue.up))
        suspended.add_metric(labels, float(queue.suspended))
        length.add_metric(labels, queue.waiting + queue.missed)
        missed.add_metric(labels, queue.missed)
        active.add_metric(labels, queue.active)
        oldest.add_metric(labels, queue.oldest_waiting_seconds)
        if queue.last_success is not None:
            success.add_metric(labels, queue.last_success)
    yield from (up, suspended, length, missed, active, success, oldest)


def task_families(totals: Iterable[TaskTotal], ticks: Iterable[TaskTicks]) -> Iterator[Metric]:
    """Yield the families of the tasks: counters that outlive the rows they count."""
    runs = CounterMetricFamily(
        "b3lb_task", "Runs of the task that came into the state, a pod's run each", labels=(*_TASK, "state")
    )
    for total in totals:
        runs.add_metric((total.namespace, total.task, total.queue, total.state), total.runs)
    runtime = HistogramMetricFamily(
        "b3lb_task_runtime_seconds",
        "Duration of a tick of the task, or of its run where it does not tick",
        labels=_TASK,
    )
    last = GaugeMetricFamily(
        "b3lb_task_last_tick_timestamp_seconds", "When a tick of the task last ended", labels=_TASK
    )
    for task in ticks:
        labels = (task.namespace, task.task, task.queue)
        runtime.add_metric(labels, cumulative_buckets(task.counts, RUNTIME_BOUNDS), task.seconds)
        last.add_metric(labels, task.finished_at)
    yield from (runs, runtime, last)
