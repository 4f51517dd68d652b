"""The slots of a BBBQueue's schedule: which of them have no Job, and which comes next; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Any

from b3lb.resources.conditions import parse_time
from b3lb.resources.queue import BBBQueueSpec
from b3lb.schedule import Schedule, parse_schedule

LATE = timedelta(seconds=15)
"""A slot without a Job is missed after this: the CronJob controller looks every ten seconds at the latest."""

MOST_MISSED = 10_000
"""Slots that are counted at most: a week of minutes."""


def schedule_of(spec: BBBQueueSpec) -> Schedule | None:
    """Return a queue's schedule, None for a queue without one, or with one that cannot be read."""
    if spec.schedule is None:
        return None
    try:
        return parse_schedule(spec.schedule, spec.time_zone)
    except ValueError:
        return None


def missed_slots(spec: BBBQueueSpec, cron_job: Mapping[str, Any] | None, now: datetime) -> list[datetime]:
    """Return the slots without a Job since the last one, from the latest on; none while nothing is to start."""
    schedule = _live_schedule(spec, cron_job)
    if schedule is None or cron_job is None:
        return []
    last = cron_job.get("status", {}).get("lastScheduleTime") or cron_job["metadata"].get("creationTimestamp")
    if last is None:
        return []
    begin = parse_time(last)
    return list(islice(takewhile(lambda slot: slot > begin, schedule.before(now - LATE)), MOST_MISSED))


def next_slot(spec: BBBQueueSpec, cron_job: Mapping[str, Any] | None, now: datetime) -> datetime | None:
    """Return when the schedule starts the next Job, None while it starts none."""
    schedule = _live_schedule(spec, cron_job)
    return None if schedule is None else next(schedule.after(now), None)


def _live_schedule(spec: BBBQueueSpec, cron_job: Mapping[str, Any] | None) -> Schedule | None:
    if spec.suspend or cron_job is None or cron_job.get("spec", {}).get("suspend"):
        return None
    return schedule_of(spec)
