"""Whether each queue's schedule runs, and each task is run once: pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from b3lb.findings import Check, Finding, Group
from b3lb.metrics.queues import QueueSample
from b3lb.resources import BBBQueueSpec
from b3lb.resources.conditions import ConditionStatus, QueueCondition, QueueReason, find_condition, parse_time
from b3lb.schedule import parse_schedule
from b3lb.tasks import CHECK_NODES, DEFAULT_QUEUES, RENDER_RECORD, TASKS, doubly_routed
from b3lb_operator.kinds import Manifest
from b3lb_operator.manifests.cronjob import cron_job_name
from b3lb_operator.manifests.facts import Block
from b3lb_operator.manifests.queue_metrics import PERIODS

LONG, TOO_LONG = 100, 1000
"""Runs and slots that wait: from when on somebody should look, and at once."""

_READY = Check(Group.QUEUES, "QueueReady")
_SCHEDULE = Check(Group.QUEUES, "QueueSchedule")
_SUCCESS = Check(Group.QUEUES, "QueueSuccess")
_BACKLOG = Check(Group.QUEUES, "QueueBacklog")
_ROUTING = Check(Group.QUEUES, "TaskRouting")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """A BBBQueue: its object, its spec as far as it can be read, its CronJob, and what the metrics say of it."""

    manifest: Manifest
    spec: BBBQueueSpec | Block
    cron_job: Manifest | None
    sample: QueueSample | None

    @property
    def namespace(self) -> str:
        """Where it is."""
        return str(self.manifest["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.manifest["metadata"]["name"])

    @property
    def about(self) -> dict[str, str]:
        """What a finding of it is about."""
        return {"namespace": self.namespace, "object": f"bbbqueue/{self.name}"}

    @property
    def ready(self) -> Mapping[str, Any]:
        """Its condition Ready, {} for none."""
        conditions = (self.manifest.get("status") or {}).get("conditions", ())
        return find_condition(conditions, QueueCondition.READY) or {}


def check_queues(queues: Sequence[QueueState], *, nodes: Mapping[str, int], now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with queues and routes.

    Args:
        queues: All queues.
        nodes: Namespace → number of BBBNodes in it; each farm has its entry.
        now: The present time.
    """
    for queue in queues:
        yield _ready(queue)
        if isinstance(queue.spec, Block) or queue.spec.schedule is None:
            continue
        yield _schedule(queue, queue.spec, queue.spec.schedule)
        if not queue.spec.suspend and queue.cron_job is not None:
            yield _success(queue, now)
    for queue in queues:
        if queue.sample is not None:
            yield _backlog(queue, queue.sample)
    for namespace, number in nodes.items():
        yield from _routing(
            namespace, [queue for queue in queues if queue.namespace == namespace], has_nodes=number > 0
        )


def _ready(queue: QueueState) -> Finding:
    ready = queue.ready
    message = ready.get("message") or "nothing is said of it yet"
    if ready.get("status") == ConditionStatus.TRUE:
        return _READY.ok(message, **queue.about)
    if ready.get("reason") == QueueReason.SUSPENDED:
        return _READY.warning(message, remedy=_resume(queue), **queue.about)
    if ready.get("status") == ConditionStatus.FALSE:
        return _READY.failed(f"{ready['reason']}: {message}", remedy=_describe(queue), **queue.about)
    return _READY.unknown(message, remedy=_describe(queue), **queue.about)


def _describe(queue: QueueState) -> str:
    if queue.ready.get("reason") == QueueReason.JOBS_FAILING:
        return f"kubectl logs -n {queue.namespace} -l b3lb.io/queue={queue.name} --tail=50 --prefix"
    return f"kubectl describe -n {queue.namespace} bbbqueue {queue.name}"


def _resume(queue: QueueState) -> str:
    patch = '\'{"spec":{"suspend":false}}\''
    return f"kubectl patch -n {queue.namespace} bbbqueue {queue.name} --type=merge -p {patch}"


def _schedule(queue: QueueState, spec: BBBQueueSpec, schedule: str) -> Finding:
    try:
        parse_schedule(schedule, spec.time_zone)
    except ValueError as error:
        remedy = f"kubectl edit -n {queue.namespace} bbbqueue {queue.name}"
        return _SCHEDULE.failed(f"its schedule cannot be read: {error}", remedy=remedy, **queue.about)
    name = cron_job_name(queue.name)
    if queue.cron_job is None:
        message = f"there is no CronJob {name}"
        return _SCHEDULE.failed(message, remedy=_describe(queue), **queue.about)
    if queue.cron_job["spec"].get("suspend") and not spec.suspend:
        message = f"CronJob {name} is suspended although the queue is not"
        remedy = f"wait some seconds: the operator undoes it; if not, {_describe(queue)}"
        return _SCHEDULE.failed(message, remedy=remedy, **queue.about)
    message = f'CronJob {name} runs at "{schedule}" ({spec.time_zone or "Etc/UTC"})'
    return _SCHEDULE.ok(message, **queue.about)


def _success(queue: QueueState, now: datetime) -> Finding:
    sample, cron_job = queue.sample, queue.cron_job
    if sample is None or cron_job is None:
        return _SUCCESS.unknown("nothing is known of its runs", **queue.about)
    if sample.up and sample.last_success is not None:
        age = now - datetime.fromtimestamp(sample.last_success, UTC)
        return _SUCCESS.ok(f"its last run succeeded {_ago(age)} ago", **queue.about)
    remedy = f"kubectl get -n {queue.namespace} cronjobs,jobs,pods -l b3lb.io/queue={queue.name}"
    if sample.last_success is None:
        age = now - parse_time(cron_job["metadata"]["creationTimestamp"])
        message = f"no run succeeded since its CronJob was made {_ago(age)} ago"
        if age < _patience(queue, now):
            return _SUCCESS.unknown(message, **queue.about)
    else:
        age = now - datetime.fromtimestamp(sample.last_success, UTC)
        message = f"its last success was {_ago(age)} ago, more than {PERIODS} periods"
    return _SUCCESS.failed(message, remedy=remedy, **queue.about)


def _patience(queue: QueueState, now: datetime) -> timedelta:
    """Return how old a CronJob may be without a success."""
    assert isinstance(queue.spec, BBBQueueSpec) and queue.spec.schedule is not None  # noqa: S101, PT018 - asked before
    try:
        period = parse_schedule(queue.spec.schedule, queue.spec.time_zone).period(now)
    except ValueError:
        period = None
    return PERIODS * (period or timedelta.max / PERIODS)


def _backlog(queue: QueueState, sample: QueueSample) -> Finding:
    depth = sample.waiting + sample.missed
    message = f"{depth} wait ({sample.waiting} runs, {sample.missed} slots without a run)"
    if depth <= LONG:
        return _BACKLOG.ok(message, **queue.about)
    edit = f"kubectl edit -n {queue.namespace} bbbqueue {queue.name}"
    remedy = f'raise its concurrency ({edit}); docs/operations.md, "Tasks are not executed"'
    make = _BACKLOG.failed if depth > TOO_LONG else _BACKLOG.warning
    return make(message, remedy=remedy, **queue.about)


def _routing(namespace: str, queues: Sequence[QueueState], *, has_nodes: bool) -> Iterator[Finding]:
    routes = {queue.name: queue.spec.tasks for queue in queues if isinstance(queue.spec, BBBQueueSpec)}
    twice = doubly_routed(routes)
    for task, names in twice.items():
        message = f"{task} is in several queues: {', '.join(names)}; only the oldest runs it"
        remedy = f"take it out of the others: kubectl edit -n {namespace} bbbqueue {names[-1]}"
        yield _ROUTING.failed(message, remedy=remedy, namespace=namespace, object=f"bbbqueue/{names[-1]}")
    routed = {task for tasks in routes.values() for task in tasks}
    # Who wants no recordings needs no queue that renders them: the checks of recordings say where one is missing.
    nowhere = [task for task in TASKS if task not in routed and task != RENDER_RECORD]
    for task in nowhere:
        queue = DEFAULT_QUEUES[task]
        remedy = f"add it to spec.tasks of a BBBQueue: kubectl edit -n {namespace} bbbqueue {queue}"
        make = _ROUTING.failed if task == CHECK_NODES and has_nodes else _ROUTING.warning
        yield make(f"no BBBQueue has the task {task}", remedy=remedy, namespace=namespace)
    if not twice and not nowhere:
        yield _ROUTING.ok("every task is in exactly one queue", namespace=namespace)


def _ago(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
