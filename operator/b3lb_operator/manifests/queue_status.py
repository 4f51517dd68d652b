"""The status of a BBBQueue from its CronJob, Jobs and enqueued runs: a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from b3lb.release import RunCounts
from b3lb.resources.conditions import (
    ConditionStatus,
    QueueCondition,
    QueueReason,
    find_condition,
    format_time,
    parse_time,
    set_condition,
)
from b3lb.resources.queue import EVERY_MINUTE, BBBQueueSpec
from b3lb_operator.manifests.cronjob import pod_selector
from b3lb_operator.manifests.facts import Block, Verdict
from b3lb_operator.manifests.slots import missed_slots, next_slot

LONGEST_WITHOUT_SUCCESS_SECONDS = 150
"""A queue that runs every minute has Jobs that succeed in less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """All that a queue's status follows from.

    ``block`` says why the CronJob is not as the queue says (UnknownTask, TaskInOtherQueue, ImageMissing, Refused of
    ``QueueReason``). ``cron_job`` is the live CronJob, None while there is none; ``jobs`` are its live Jobs, those of
    ``kubectl create job --from`` included. ``runs`` counts its enqueued runs, None while the database was not read;
    then ``run_jobs``, the Jobs of these runs, tell of those at work. ``missing_secrets`` are the core Secrets without
    which no pod starts.
    """

    spec: BBBQueueSpec
    generation: int
    block: Block | None = None
    cron_job: Mapping[str, Any] | None = None
    jobs: Sequence[Mapping[str, Any]] = ()
    run_jobs: Sequence[Mapping[str, Any]] = ()
    runs: RunCounts | None = None
    missing_secrets: Sequence[str] = ()


def build_queue_status(facts: QueueFacts, *, queue: str, old: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the whole status; keys that are absent in it are to be removed from the object.

    Args:
        facts: What is known.
        queue: The queue's name.
        old: The status that the object carries, {} for none.
        now: The present time.
    """
    succeeded = [job for job in facts.jobs if _finished_at(job, "Complete") is not None]
    failed = [job for job in facts.jobs if _finished_at(job, "Failed") is not None]
    verdict = _ready(facts, old, now)
    live = (facts.cron_job or {}).get("status", {})
    times = {
        "lastScheduleTime": _latest(live.get("lastScheduleTime"), old.get("lastScheduleTime")),
        "nextScheduleTime": _next_schedule_time(facts, now),
        "lastSuccessTime": last_success(facts, old),
    }
    conditions = set_condition(
        old.get("conditions", ()),
        QueueCondition.READY,
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.message,
        observed_generation=facts.generation,
        now=now,
    )
    return {
        "observedGeneration": facts.generation,
        **_numbers(facts, old, now),
        "active": _live(facts.jobs) + (_live(facts.run_jobs) if facts.runs is None else facts.runs.in_flight),
        "selector": pod_selector(queue),
        "succeeded": len(succeeded),
        "failed": len(failed),
        **{key: value for key, value in times.items() if value is not None},
        "conditions": conditions,
    }


def _live(jobs: Iterable[Mapping[str, Any]]) -> int:
    return sum(finish_time(job) is None for job in jobs)


def _numbers(facts: QueueFacts, old: Mapping[str, Any], now: datetime) -> dict[str, int]:
    """Return depth and replicas; what only the database knows stays as it was said until it is read."""
    missed = len(missed_slots(facts.spec, facts.cron_job, now))
    if facts.runs is not None:
        depth, replicas = facts.runs.waiting + missed, facts.spec.replicas(facts.runs.demand)
        return {"depth": depth, "replicas": replicas}
    known = {name: old[name] for name in ("depth", "replicas") if name in old}
    return known if facts.spec.autoscaling is not None else {**known, "replicas": facts.spec.replicas(0)}


def _next_schedule_time(facts: QueueFacts, now: datetime) -> str | None:
    due = None if facts.block is not None else next_slot(facts.spec, facts.cron_job, now)
    return None if due is None else format_time(due)


def failing_at(facts: QueueFacts, *, old: Mapping[str, Any], now: datetime) -> datetime | None:
    """Return from when on a queue that runs every minute lacks a success, if nothing changes; None for never.

    It has its time from the last success, the creation of the CronJob, and the end of what kept it from running. While
    a pod runs it is not over.
    """
    if facts.block is not None or facts.spec.suspend or facts.cron_job is None or facts.spec.schedule != EVERY_MINUTE:
        return None
    if any(job.get("status", {}).get("ready") for job in facts.jobs if finish_time(job) is None):
        return None
    begins = [last_success(facts, old), facts.cron_job["metadata"].get("creationTimestamp")]
    ready = find_condition(old.get("conditions", ()), QueueCondition.READY)
    if ready is not None and ready["status"] == ConditionStatus.TRUE:
        begins.append(ready["lastTransitionTime"])
    elif ready is None or ready["reason"] != QueueReason.JOBS_FAILING:
        begins.append(format_time(now))
    begin = _latest(*begins)
    return None if begin is None else parse_time(begin) + timedelta(seconds=LONGEST_WITHOUT_SUCCESS_SECONDS)


def _ready(facts: QueueFacts, old: Mapping[str, Any], now: datetime) -> Verdict:
    if facts.block is not None:
        return Verdict(status=ConditionStatus.FALSE, reason=facts.block.reason, message=facts.block.message)
    if facts.spec.suspend:
        message = "no new pods are started: spec.suspend is true"
        return Verdict(status=ConditionStatus.FALSE, reason=QueueReason.SUSPENDED, message=message)
    if facts.spec.schedule is None:
        message = f"{', '.join(facts.spec.tasks)} run when they are enqueued, {_at_a_time(facts.spec)} at a time"
        message += _window(facts.spec, now)
        return Verdict(status=ConditionStatus.TRUE, reason=QueueReason.ON_DEMAND, message=message)
    if facts.cron_job is None:
        message = "the CronJob is not there yet"
        return Verdict(status=ConditionStatus.UNKNOWN, reason=QueueReason.PENDING, message=message)
    name = facts.cron_job["metadata"]["name"]
    zone = f" ({facts.spec.time_zone})" if facts.spec.time_zone else ""
    message = f'CronJob {name} runs {", ".join(facts.spec.tasks)} at "{facts.spec.schedule}"{zone}'
    failure = _last_failure(facts) or _lack_of_success(facts, old, now)
    if failure:
        secrets = "".join(f"; Secret {name} does not exist, so no pod can start" for name in facts.missing_secrets)
        return Verdict(
            status=ConditionStatus.FALSE, reason=QueueReason.JOBS_FAILING, message=f"{failure}{secrets}; {message}"
        )
    return Verdict(status=ConditionStatus.TRUE, reason=QueueReason.SCHEDULED, message=message)


def _window(spec: BBBQueueSpec, now: datetime) -> str:
    """Return what is to say of the queue's window: words that change only when it opens and closes."""
    if spec.window is None or spec.opening is None:
        return ""
    text = f", between {spec.window.start} and {spec.window.end} ({spec.time_zone or 'Etc/UTC'})"
    opens_at = spec.opening.opens_at(now)
    return text if opens_at is None else f"{text}: waits for its window until {format_time(opens_at)}"


def _at_a_time(spec: BBBQueueSpec) -> str:
    """Return the number in words that change with the spec only."""
    limits = spec.autoscaling
    return str(spec.concurrency) if limits is None else f"{limits.min_replicas} to {limits.max_replicas}"


def _lack_of_success(facts: QueueFacts, old: Mapping[str, Any], now: datetime) -> str:
    """Return what is known of a queue that should have succeeded by now, empty for another one."""
    due = failing_at(facts, old=old, now=now)
    if due is None or now < due:
        return ""
    last = last_success(facts, old)
    text = "no Job succeeded so far" if last is None else f"no Job succeeded since {last}"
    waiting = sorted(job["metadata"]["name"] for job in facts.jobs if finish_time(job) is None)
    if not waiting:
        return f"{text}, and none is there to run"
    return f"{text}; the pod of Job {waiting[-1]} does not start: see kubectl describe pods -l job-name={waiting[-1]}"


def _last_failure(facts: QueueFacts) -> str:
    """Return what went wrong with the Job that finished last, empty when it succeeded."""
    finished = [(moment, job) for job in facts.jobs if (moment := finish_time(job)) is not None]
    if not finished:
        return ""
    _, job = max(finished, key=lambda pair: (pair[0], pair[1]["metadata"]["name"]))
    condition = find_condition(job["status"]["conditions"], "Failed")
    if condition is None or condition.get("status") != ConditionStatus.TRUE:
        return ""
    words = [word for word in (condition.get("reason"), condition.get("message")) if word]
    return f"the last Job, {job['metadata']['name']}, failed: {': '.join(words)}"


def last_success(facts: QueueFacts, old: Mapping[str, Any]) -> str | None:
    """Return when a Job of the queue last succeeded, as far as CronJob, Jobs and the ``old`` status know."""
    completions = [_finished_at(job, "Complete") for job in facts.jobs]
    live = (facts.cron_job or {}).get("status", {})
    return _latest(live.get("lastSuccessfulTime"), old.get("lastSuccessTime"), *completions)


def finish_time(job: Mapping[str, Any]) -> datetime | None:
    """Return when a Job ended, well or not; None while it has not."""
    moment = _finished_at(job, "Complete") or _finished_at(job, "Failed")
    return parse_time(moment) if moment is not None else None


def _finished_at(job: Mapping[str, Any], type_: str) -> str | None:
    """Return when a Job got the condition ``type_`` (Complete or Failed), or None.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions
    """
    condition = find_condition(job.get("status", {}).get("conditions", ()), type_)
    if condition is None or condition["status"] != ConditionStatus.TRUE:
        return None
    return str(condition["lastTransitionTime"])


def _latest(*moments: str | None) -> str | None:
    known: Iterable[datetime] = (parse_time(moment) for moment in moments if moment)
    latest = max(known, default=None)
    return format_time(latest) if latest is not None else None
