"""A queue is up by its last success, and its length is what waits and what was missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from b3lb.metrics.queues import EnqueuedRuns, QueueSample
from b3lb.resources import BBBQueueSpec
from b3lb.resources.conditions import format_time
from b3lb_operator.manifests.queue_metrics import queue_sample
from b3lb_operator.manifests.queue_status import QueueFacts

NOW = datetime(2026, 3, 4, 12, 0, 30, tzinfo=UTC)


def ago(seconds: float) -> str:
    return format_time(NOW - timedelta(seconds=seconds))


def cron_job(**status: str) -> dict[str, Any]:
    metadata = {"name": "b3lb-core", "uid": "c", "creationTimestamp": ago(3600)}
    return {"metadata": metadata, "spec": {}, "status": {"lastScheduleTime": ago(30), **status}}


def job(age: float = 5, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "job", "creationTimestamp": ago(age)}, "status": status}


def sample(*jobs: dict[str, Any], live: dict[str, Any] | None = None, **changes: Any) -> QueueSample:
    spec = {"tasks": ["check-nodes"], "schedule": "* * * * *", **changes.pop("spec", {})}
    facts = QueueFacts(
        spec=BBBQueueSpec.model_validate(spec),
        generation=1,
        cron_job=cron_job() if live is None else live or None,
        jobs=jobs,
    )
    return queue_sample(facts, namespace="farm", queue="core", old={}, now=NOW, **changes)


@pytest.mark.parametrize(("age", "up"), [(10, True), (179, True), (180, False), (4000, False)])
def test_a_worker_is_up_while_its_last_success_is_younger_than_three_periods(age: float, *, up: bool) -> None:
    assert sample(live=cron_job(lastSuccessfulTime=ago(age))).up is up


def test_three_periods_of_a_slower_queue_are_longer() -> None:
    live = cron_job(lastSuccessfulTime=ago(800))
    assert sample(live=live, spec={"tasks": ["x"], "schedule": "*/5 * * * *"}).up
    assert not sample(live=live).up


def test_a_queue_that_is_suspended_or_never_succeeded_is_not_up() -> None:
    assert not sample(live=cron_job(lastSuccessfulTime=ago(10)), spec={"suspend": True}).up
    assert not sample().up
    assert not sample(live={}).up


def test_a_queue_without_a_schedule_is_up_unless_it_is_suspended() -> None:
    on_demand = {"tasks": ["x"], "schedule": None}
    enqueued = EnqueuedRuns(waiting=1, oldest_at=(NOW - timedelta(seconds=7)).timestamp())
    found = sample(live={}, spec=on_demand, enqueued=enqueued)
    assert (found.up, found.waiting, found.missed, found.oldest_waiting_seconds) == (True, 1, 0, 7)
    assert not sample(live={}, spec={**on_demand, "suspend": True}).up


def test_a_succeeded_job_counts_before_the_cron_job_says_so() -> None:
    condition = {"type": "Complete", "status": "True", "lastTransitionTime": ago(20)}
    found = sample(job(60, conditions=[condition]))
    assert (found.up, found.last_success, found.waiting) == (True, (NOW - timedelta(seconds=20)).timestamp(), 0)


def test_jobs_without_a_running_pod_and_runs_without_a_job_wait() -> None:
    enqueued = EnqueuedRuns(waiting=4, active=2, oldest_at=NOW.timestamp())
    found = sample(job(5, active=1, ready=1), job(90, active=1, ready=0), job(3), enqueued=enqueued)
    assert (found.waiting, found.active, found.missed) == (6, 3, 0)
    assert found.oldest_waiting_seconds == 90


def test_slots_without_a_job_are_missed_after_a_moment() -> None:
    assert sample(live=cron_job(lastScheduleTime=ago(90))).missed == 1
    assert sample(live=cron_job(lastScheduleTime=ago(330))).missed == 5
    late = sample(live=cron_job(lastScheduleTime=ago(330)))
    assert late.oldest_waiting_seconds == 270
    assert sample(live=cron_job(lastScheduleTime=ago(90)), spec={"suspend": True}).missed == 0


def test_an_endless_outage_is_counted_to_a_limit() -> None:
    assert sample(live=cron_job(lastScheduleTime=ago(30 * 86400))).missed == 10_000


def test_a_schedule_that_cannot_be_read_here_is_no_fault_but_nothing_is_up() -> None:
    found = sample(live=cron_job(lastSuccessfulTime=ago(1)), spec={"tasks": ["x"], "timeZone": "Mars/Base"})
    assert (found.up, found.missed) == (False, 0)
