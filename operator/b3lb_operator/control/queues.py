"""``/queues`` and ``/active-queues``: what each BBBQueue says of itself, what waits, and who works on it."""

from __future__ import annotations

from datetime import UTC, datetime

from b3lb.db.work import Work
from b3lb.resources.conditions import ConditionStatus, QueueCondition, find_condition
from b3lb.schedule import parse_schedule
from b3lb.views.queues import Ends
from b3lb.views.values import Document, from_epoch, timestamp
from b3lb_operator.control.farms import Farms
from b3lb_operator.control.questions import Question
from b3lb_operator.samples import SampledQueue, queue_samples

_NOTHING_KNOWN = dict.fromkeys(Ends().as_json())


async def queues(farms: Farms, question: Question) -> Document:
    """Return the queues; without a database what the cluster knows of them."""
    namespaces = question.namespaces(farms.namespaces)
    metrics, work, now = await farms.farm_metrics(), await farms.work(), datetime.now(UTC)
    sampled = queue_samples(farms.store, namespaces, metrics, now=now)
    return farms.listing("QueueList", [queue_item(queue, work, now=now) for queue in sampled])


async def active_queues(farms: Farms, question: Question) -> Document:
    """Return the queues with who works on them."""
    namespaces = question.namespaces(farms.namespaces)
    sampled = queue_samples(farms.store, namespaces, await farms.farm_metrics(), now=datetime.now(UTC))
    items = [
        {
            "namespace": queue.key.namespace,
            "queue": queue.key.name,
            "tasks": list(queue.spec.tasks),
            "consumers": queue.sample.active,
            "concurrency": queue.spec.concurrency,
            "suspended": queue.spec.suspend,
        }
        for queue in sampled
    ]
    return farms.listing("ActiveQueueList", items)


def queue_item(queue: SampledQueue, work: Work | None, *, now: datetime) -> Document:
    """Return what is shown of a queue; ``work`` is None while the database was not read."""
    spec, sample, status = queue.spec, queue.sample, queue.manifest.get("status") or {}
    ready = find_condition(status.get("conditions", ()), QueueCondition.READY) or {}
    return {
        "namespace": queue.key.namespace,
        "name": queue.key.name,
        "tasks": list(spec.tasks),
        "schedule": spec.schedule,
        "timeZone": spec.time_zone,
        "tickSeconds": spec.tick_seconds,
        "suspended": spec.suspend,
        "up": sample.up,
        "ready": ready.get("status", ConditionStatus.UNKNOWN.value),
        "reason": ready.get("reason"),
        "message": ready.get("message"),
        "depth": sample.waiting + sample.missed,
        "waiting": sample.waiting,
        "missedSlots": sample.missed,
        "active": sample.active,
        "oldestWaitingSeconds": round(sample.oldest_waiting_seconds, 3),
        "lastSchedule": status.get("lastScheduleTime"),
        "lastSuccess": timestamp(from_epoch(sample.last_success)),
        "nextRun": timestamp(next_slot(queue, now=now)),
        "concurrency": spec.concurrency,
        "replicas": status.get("replicas", spec.concurrency),
        "rateLimit": spec.rate_limit,
        "priority": spec.priority,
        **(_NOTHING_KNOWN if work is None else _ends(queue, work).as_json()),
    }


def next_slot(queue: SampledQueue, *, now: datetime) -> datetime | None:
    """Return the next slot of a queue's schedule, None where nothing is to start."""
    if queue.spec.schedule is None or queue.spec.suspend:
        return None
    try:
        schedule = parse_schedule(queue.spec.schedule, queue.spec.time_zone)
    except ValueError:
        return None
    return next(schedule.after(now), None)


def _ends(queue: SampledQueue, work: Work) -> Ends:
    return Ends.of(ends for ends in work.ends if (ends.namespace, ends.queue) == queue.key)
