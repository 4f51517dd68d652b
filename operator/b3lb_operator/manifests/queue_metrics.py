"""What the metrics say of a BBBQueue, from its CronJob, the Jobs of that, and its enqueued runs: a pure function."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from b3lb.metrics.queues import EnqueuedRuns, QueueSample
from b3lb.resources.conditions import parse_time
from b3lb.schedule import Schedule
from b3lb_operator.manifests.queue_status import QueueFacts, finish_time, last_success
from b3lb_operator.manifests.slots import missed_slots, schedule_of

PERIODS = 3
"""A queue is up as long as its last success is younger than so many periods."""


def queue_sample(
    facts: QueueFacts,
    *,
    namespace: str,
    queue: str,
    old: Mapping[str, Any],
    now: datetime,
    enqueued: EnqueuedRuns | None = None,
) -> QueueSample:
    """Return what the metrics say of a queue.

    Args:
        facts: What is known of it; its Jobs are those of the schedule.
        namespace: Its namespace.
        queue: Its name.
        old: The status that the object carries, {} for none.
        now: The present time.
        enqueued: Its enqueued runs, absent for none; the Jobs of those are not among the facts.
    """
    enqueued = enqueued or EnqueuedRuns()
    schedule = schedule_of(facts.spec)
    live = [job for job in facts.jobs if finish_time(job) is None]
    waiting = [job for job in live if not _runs(job)]
    missed = missed_slots(facts.spec, facts.cron_job, now)
    success = last_success(facts, old)
    succeeded_at = None if success is None else parse_time(success)
    since = [parse_time(job["metadata"]["creationTimestamp"]) for job in waiting]
    since += missed[-1:]
    if enqueued.oldest_at is not None:
        since.append(datetime.fromtimestamp(enqueued.oldest_at, UTC))
    return QueueSample(
        namespace=namespace,
        queue=queue,
        up=not facts.spec.suspend and (facts.spec.schedule is None or _is_recent(succeeded_at, schedule, now)),
        suspended=facts.spec.suspend,
        waiting=len(waiting) + enqueued.waiting,
        missed=len(missed),
        active=len(live) - len(waiting) + enqueued.active,
        oldest_waiting_seconds=max(0.0, (now - min(since)).total_seconds()) if since else 0.0,
        last_success=None if succeeded_at is None else succeeded_at.timestamp(),
    )


def _runs(job: Mapping[str, Any]) -> bool:
    """Whether the Job's pod runs: one without readiness probes is ready as soon as it does."""
    return bool(job.get("status", {}).get("ready"))


def _is_recent(succeeded_at: datetime | None, schedule: Schedule | None, now: datetime) -> bool:
    period = None if schedule is None else schedule.period(now)
    return succeeded_at is not None and period is not None and now - succeeded_at < PERIODS * period
