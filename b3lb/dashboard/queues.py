"""Queues and tasks as the pages show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from b3lb.dashboard.charts import BarChart, Hour, LineChart, bar_chart, line_chart, merged
from b3lb.dashboard.documents import Document, count, flag, items, label, moment, number, text, texts
from b3lb.dashboard.formats import whole
from b3lb.dashboard.levels import RANK, Badge, Level

LONG_QUEUE, VERY_LONG_QUEUE = 100, 1000


@dataclass(frozen=True, slots=True)
class Rates:
    """How many runs succeeded and failed."""

    succeeded_1h: int | None
    failed_1h: int | None
    succeeded_24h: int | None
    failed_24h: int | None


@dataclass(frozen=True, slots=True)
class Queue:
    """A BBBQueue; times are UTC, durations seconds."""

    namespace: str
    name: str
    badge: Badge
    why: str
    suspended: bool
    tasks: tuple[str, ...]
    schedule: str
    depth: int | None
    waiting: int | None
    missed: int | None
    active: int | None
    oldest_waiting: float | None
    last_schedule: datetime | None
    last_success: datetime | None
    next_run: datetime | None
    concurrency: str
    replicas: str
    rate_limit: str
    priority: str
    rates: Rates
    chart: BarChart


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a queue over the last day."""

    namespace: str
    queue: str
    task: str
    rates: Rates
    totals: str
    p50: float | None
    p95: float | None
    last_finished: datetime | None
    line: LineChart


@dataclass(frozen=True, slots=True)
class History:
    """The hours of a task in a queue; the namespace is empty where the document has none."""

    namespace: str
    queue: str
    task: str
    hours: tuple[Hour, ...]

    def of(self, namespace: str, queue: str) -> bool:
        """Whether it belongs to that queue."""
        return self.queue == queue and self.namespace in {"", namespace}


def histories(document: Document) -> list[History]:
    """Return the histories of an overview."""
    return [
        History(
            text(item, "namespace"),
            text(item, "queue"),
            text(item, "task"),
            tuple(
                Hour(
                    moment(bucket, "start"),
                    count(bucket, "succeeded"),
                    count(bucket, "failed"),
                    number(bucket, "p50Seconds"),
                )
                for bucket in items(item, "buckets")
            ),
        )
        for item in items(document, "history")
    ]


def queue(item: Document, history: Iterable[History]) -> Queue:
    """Return what the page shows of a BBBQueue."""
    namespace, name = label(item, "namespace"), label(item, "name")
    suspended, up = flag(item, "suspended") is True, flag(item, "up")
    zone, schedule = label(item, "timeZone"), label(item, "schedule")
    return Queue(
        namespace=namespace,
        name=name,
        badge=_badge(suspended=suspended, up=up, ready=flag(item, "ready")),
        why=_why(item, up=up),
        suspended=suspended,
        tasks=texts(item, "tasks"),
        schedule=f"{schedule} {zone}".strip() if schedule else "",
        depth=count(item, "depth"),
        waiting=count(item, "waiting"),
        missed=count(item, "missedSlots"),
        active=count(item, "active"),
        oldest_waiting=number(item, "oldestWaitingSeconds"),
        last_schedule=moment(item, "lastSchedule"),
        last_success=moment(item, "lastSuccess"),
        next_run=moment(item, "nextRun"),
        concurrency=label(item, "concurrency"),
        replicas=label(item, "replicas"),
        rate_limit=label(item, "rateLimit"),
        priority=label(item, "priority"),
        rates=_rates(item),
        chart=bar_chart(merged([found.hours for found in history if found.of(namespace, name)])),
    )


def task(item: Document, history: Iterable[History]) -> Task:
    """Return what the page shows of a task's statistics."""
    namespace, queue_name, name = label(item, "namespace"), label(item, "queue"), label(item, "task")
    hours: Sequence[Hour] = next(
        (found.hours for found in history if found.of(namespace, queue_name) and found.task == name), ()
    )
    states = (("succeeded", "success"), ("failed", "failure"), ("tried again", "retry"), ("revoked", "revoked"))
    known = [(word, count(item, key)) for word, key in states]
    return Task(
        namespace=namespace,
        queue=queue_name,
        task=name,
        rates=_rates(item),
        totals=", ".join(f"{whole(number_)} {word}" for word, number_ in known if number_),
        p50=number(item, "p50Seconds"),
        p95=number(item, "p95Seconds"),
        last_finished=moment(item, "lastFinishedAt"),
        line=line_chart(hours),
    )


def worst_first(queues: Iterable[Queue]) -> list[Queue]:
    """Return the queues, those that need a person first."""
    return sorted(queues, key=lambda found: (RANK[found.badge.level], found.namespace, found.name))


def failing_first(tasks: Iterable[Task]) -> list[Task]:
    """Return the tasks, those that failed most in the last hour first."""
    return sorted(tasks, key=lambda found: (-(found.rates.failed_1h or 0), found.namespace, found.queue, found.task))


def _badge(*, suspended: bool, up: bool | None, ready: bool | None) -> Badge:
    if suspended:
        return Badge(Level.IDLE, "Suspended")
    if up is None:
        return Badge(Level.UNKNOWN, "Unknown")
    if not up:
        return Badge(Level.BAD, "Down")
    return Badge(Level.WARNING, "Not ready") if ready is False else Badge(Level.GOOD, "Up")


def _why(item: Document, *, up: bool | None) -> str:
    """Return why a queue is not as it should be, empty when all is well."""
    if flag(item, "ready") is True:
        return "" if up is not False else "no run succeeded within its last three periods"
    reason, message = label(item, "reason"), label(item, "message")
    return f"{reason}: {message}" if reason and message else reason or message


def _rates(item: Document) -> Rates:
    return Rates(*(count(item, key) for key in ("succeeded1h", "failed1h", "succeeded24h", "failed24h")))
