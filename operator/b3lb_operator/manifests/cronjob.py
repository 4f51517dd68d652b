"""The CronJob of a BBBQueue, and the Jobs of its enqueued runs: pure functions.

Every field that must stay as it is stands in the result, defaults of the API server included, so that comparing it
with the live object finds each drift. The pods meet the Pod Security Standard "restricted" and get no API token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from b3lb.resources.base import API_VERSION, GROUP
from b3lb.resources.queue import EVERY_MINUTE, BBBQueueSpec
from b3lb.tasks import STORING
from b3lb_operator.manifests.job_template import JobStorage, JobTemplate, merge_pod, with_storage
from b3lb_operator.manifests.run_jobs import (
    KUEUE_LABEL,
    batch_environment,
    batched_job,
    chunk_environment,
    chunked_job,
    queued,
)

NAME_PREFIX = "b3lb-"
CONTAINER = "job"
_PROGRAM = "b3lb-job"
QUEUE_LABEL = f"{GROUP}/queue"
RUN_LABEL = f"{GROUP}/run"
WORKER_COUNT = "B3LB_CONCURRENCY"
RUN_AS = 65532
"""User and group of the pods: the "nonroot" of common base images; the images read nothing that belongs to it."""

TICKING_DEADLINE_SECONDS = 75
"""A pod ticks for less than a minute; at 75 s something hangs, and the next slot is due."""

_DEFAULT_RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
_TEMPORARY_SIZE = "64Mi"
_KEEP_FINISHED_SECONDS = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueIdentity:
    """The BBBQueue that owns the CronJob."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """One attempt, from 1 on, of an enqueued run.

    ``chunks`` is the number of chunks of a run that has them, of which ``pods`` are worked on side by side; ``shared``
    when the Job works on other runs as well.
    """

    id: UUID
    attempt: int
    chunks: int | None = None
    pods: int = 1
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefaults:
    """What the operator was started with.

    ``image`` may be empty: then every queue has to name its own. ``database_secret`` holds the key ``url``,
    ``encryption_secret`` the key ``keys``. ``queue_labels`` gives, by the queue's name, the value of the label
    b3lb.io/queue where it differs from the name. ``template`` is what the administrator adds to the pods, and
    ``storage`` goes to those with a task that needs it. ``pypy_image`` holds the program on PyPy; empty: there is none.
    """

    image: str
    database_secret: str
    encryption_secret: str
    queue_labels: Mapping[str, str] = field(default_factory=dict)
    log_format: str = "json"
    log_level: str = "info"
    template: JobTemplate = field(default_factory=JobTemplate)
    storage: JobStorage | None = None
    pypy_image: str = ""


@dataclass(frozen=True, slots=True)
class _Pace:
    """What follows from how often a queue runs; both in seconds.

    ``start`` is how late a run may start before it is better left to the next slot, ``active`` how long it may take.
    """

    start: int
    active: int


_EACH_MINUTE = _Pace(30, TICKING_DEADLINE_SECONDS)
_WITHIN_THE_HOUR = _Pace(120, 900)
_RARELY = _Pace(3600, 6 * 3600)


def cron_job_name(queue: str) -> str:
    """Return the name of the CronJob of a queue."""
    return f"{NAME_PREFIX}{queue}"


def run_job_name(run: RunIdentity) -> str:
    """Return the name of the Job of an attempt of an enqueued run."""
    return f"{NAME_PREFIX}run-{run.id.hex}-{run.attempt}"


def first_of_job(name: str) -> RunIdentity:
    """Return the run after which a Job that several runs share is called."""
    run_id, _, attempt = name.removeprefix(f"{NAME_PREFIX}run-").partition("-")
    return RunIdentity(UUID(run_id), int(attempt), shared=True)


def pod_selector(queue: str) -> str:
    """Return the label selector of all pods of a queue, those of its schedule and those of enqueued runs."""
    return f"app.kubernetes.io/name={_PROGRAM},app.kubernetes.io/instance={cron_job_name(queue)}"


def build_cronjob(spec: BBBQueueSpec, *, identity: QueueIdentity, defaults: JobDefaults) -> dict[str, Any]:
    """Return the whole CronJob; the spec's image, where given, goes before the default.

    Raises:
        ValueError: Neither the spec nor the defaults name an image, or the spec has no schedule.
    """
    labels = _labels(identity, defaults)
    if spec.schedule is None:
        raise ValueError("no schedule: such a queue has no CronJob")
    pace = _pace(spec.schedule)
    template = {
        "metadata": _pod_metadata(labels, defaults.template, identity.name),
        "spec": merge_pod(_pod(spec, identity, defaults), defaults.template, identity.name),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "namespace": identity.namespace,
            "name": cron_job_name(identity.name),
            "labels": labels,
            "ownerReferences": [_owner(identity)],
        },
        "spec": {
            "schedule": spec.schedule,
            "timeZone": spec.time_zone or "Etc/UTC",
            "suspend": spec.suspend,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": pace.start,
            "successfulJobsHistoryLimit": spec.successful_jobs_history_limit,
            "failedJobsHistoryLimit": spec.failed_jobs_history_limit,
            "jobTemplate": {"metadata": {"labels": labels}, "spec": _job(template, active=pace.active)},
        },
    }


def build_run_job(
    spec: BBBQueueSpec, *, identity: QueueIdentity, defaults: JobDefaults, run: RunIdentity
) -> dict[str, Any]:
    """Return the Job of one attempt of an enqueued run; its name follows from run and attempt alone.

    Nothing is retried by Kubernetes: whether and when there is another attempt is the queue's decision.

    Raises:
        ValueError: Neither the spec nor the defaults name an image.
    """
    labels = {**_labels(identity, defaults), RUN_LABEL: str(run.id)}
    pod = _pod(spec, identity, defaults)
    (container,) = pod["containers"]
    # A tick's pace is the schedule's matter.
    environment = [*container["env"], *_run_environment(spec, run), _worker_count(spec)]
    if run.chunks is not None:
        environment += chunk_environment()
    if run.shared:
        environment += batch_environment(spec, run_job_name(run))
    pod = {**pod, "containers": [{**container, "args": ["--run", str(run.id)], "env": environment}]}
    template = {
        "metadata": _pod_metadata(labels, defaults.template, identity.name),
        "spec": merge_pod(pod, defaults.template, identity.name),
    }
    job = {**_job(template, active=spec.hard_limit_seconds), "podReplacementPolicy": "Failed"}
    if run.chunks is not None:
        job = chunked_job(job, spec, chunks=run.chunks, pods=run.pods)
    if run.shared:
        job = batched_job(job, spec)
    given = defaults.template.of_queue(identity.name).labels
    if KUEUE_LABEL in given:
        # Kueue reads it from the Job.
        labels = {**labels, KUEUE_LABEL: given[KUEUE_LABEL]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "namespace": identity.namespace,
            "name": run_job_name(run),
            "labels": labels,
            "ownerReferences": [_owner(identity)],
        },
        "spec": queued(job, labels),
    }


def _job(template: Mapping[str, Any], *, active: int) -> dict[str, Any]:
    return {
        "backoffLimit": 0,
        "activeDeadlineSeconds": active,
        "ttlSecondsAfterFinished": _KEEP_FINISHED_SECONDS,
        "parallelism": 1,
        "completions": 1,
        "template": template,
    }


def _run_environment(spec: BBBQueueSpec, run: RunIdentity) -> list[dict[str, Any]]:
    values = {
        "B3LB_RUN_ID": run.id,
        "B3LB_ATTEMPT": run.attempt,
        "B3LB_SOFT_TIME_LIMIT_SECONDS": spec.soft_limit_seconds,
        "B3LB_MAX_RETRIES": spec.retry.max_retries,
        "B3LB_RETRY_BACKOFF_SECONDS": spec.retry.backoff_seconds,
        "B3LB_RETRY_MAXIMUM_SECONDS": spec.retry.maximum_seconds,
    }
    return [{"name": name, "value": str(value)} for name, value in values.items()]


def _worker_count(spec: BBBQueueSpec) -> dict[str, Any]:
    """Return how much a pod may do side by side: as much as it has CPUs, one thing where nothing limits it.

    Without a limit the downward API tells the CPUs of the whole node, for which the pod's memory is not made
    (https://kubernetes.io/docs/concepts/workloads/pods/downward-api/#fallback-information-for-resource-limits).
    """
    limited = spec.resources is not None and "cpu" in spec.resources.limits
    if not limited:
        return {"name": WORKER_COUNT, "value": "1"}
    reference = {"containerName": CONTAINER, "resource": "limits.cpu", "divisor": "1"}
    return {"name": WORKER_COUNT, "valueFrom": {"resourceFieldRef": reference}}


def _pace(schedule: str) -> _Pace:
    """Return the pace of a schedule: each minute, several times within an hour, or at most once in an hour."""
    fields = schedule.split()
    if " ".join(fields) == EVERY_MINUTE:
        return _EACH_MINUTE
    several = any(character in fields[0] for character in "*/,-") if not schedule.startswith("@") else False
    return _WITHIN_THE_HOUR if several else _RARELY


def _labels(identity: QueueIdentity, defaults: JobDefaults) -> dict[str, str]:
    """Return the recommended labels (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/)."""
    return {
        "app.kubernetes.io/name": _PROGRAM,
        "app.kubernetes.io/instance": cron_job_name(identity.name),
        "app.kubernetes.io/component": "jobs",
        "app.kubernetes.io/part-of": "b3lb",
        "app.kubernetes.io/managed-by": "b3lb-operator",
        QUEUE_LABEL: defaults.queue_labels.get(identity.name, identity.name),
    }


def _pod_metadata(labels: Mapping[str, str], template: JobTemplate, queue: str) -> dict[str, Any]:
    given = template.of_queue(queue)
    metadata: dict[str, Any] = {"labels": {**given.labels, **labels}}
    return {**metadata, "annotations": given.annotations} if given.annotations else metadata


def _owner(identity: QueueIdentity) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "BBBQueue",
        "name": identity.name,
        "uid": identity.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _pod(spec: BBBQueueSpec, identity: QueueIdentity, defaults: JobDefaults) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 15,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": RUN_AS,
            "runAsGroup": RUN_AS,
            "fsGroup": RUN_AS,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(spec, identity, defaults)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": _TEMPORARY_SIZE}}],
    }
    if defaults.storage is None or STORING.isdisjoint(spec.tasks):
        return pod
    return with_storage(pod, defaults.storage)


def _container(spec: BBBQueueSpec, identity: QueueIdentity, defaults: JobDefaults) -> dict[str, Any]:
    image = spec.image or defaults.image
    if not image:
        raise ValueError("no image: write spec.image, or start the operator with B3LB_JOB_IMAGE")
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [_PROGRAM],
        "args": list(spec.tasks),
        "env": _environment(spec, identity, defaults),
        "resources": _resources(spec),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume of the pod's own
    }


def _environment(spec: BBBQueueSpec, identity: QueueIdentity, defaults: JobDefaults) -> list[dict[str, Any]]:
    limits = {
        "B3LB_TICK_SECONDS": spec.tick_seconds,
        "B3LB_MAX_TICKS": spec.max_ticks,
        "B3LB_MAX_MEMORY_GROWTH_MIB": spec.max_memory_growth_mib,
    }
    ticks = [{"name": name, "value": str(value)} for name, value in limits.items() if value is not None]
    return [
        _from_secret("B3LB_DATABASE_URL", defaults.database_secret, "url"),
        _from_secret("B3LB_ENCRYPTION_KEYS", defaults.encryption_secret, "keys"),
        {"name": "B3LB_NAMESPACE", "value": identity.namespace},
        {"name": "B3LB_QUEUE", "value": identity.name},
        {"name": "B3LB_POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        *ticks,
        {"name": "B3LB_MAX_IN_FLIGHT", "value": str(spec.max_in_flight)},
        {"name": "B3LB_LOG_FORMAT", "value": defaults.log_format},
        {"name": "B3LB_LOG_LEVEL", "value": defaults.log_level},
    ]


def _from_secret(name: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _resources(spec: BBBQueueSpec) -> dict[str, dict[str, str]]:
    if spec.resources is None:
        return {kind: dict(amounts) for kind, amounts in _DEFAULT_RESOURCES.items()}
    given = {"requests": spec.resources.requests, "limits": spec.resources.limits}
    return {kind: {name: str(amount) for name, amount in amounts.items()} for kind, amounts in given.items() if amounts}
