"""What the Job of an enqueued run has where it does not have one pod for one run: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from b3lb.resources.queue import BBBQueueSpec
from b3lb_operator.manifests.run_end import PERMANENT_CODES

KUEUE_LABEL = "kueue.x-k8s.io/queue-name"
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"

_LONGEST_PAUSE_SECONDS = 600
_LONGEST_SECONDS = 2**31 - 1


def chunked_job(job: dict[str, Any], spec: BBBQueueSpec, *, chunks: int, pods: int) -> dict[str, Any]:
    """Return the spec of a Job that has an index for each chunk.

    Each index is tried again by Kubernetes as often as the queue tries a run again, unless its pod says that this is no
    use; one that fails does not keep the others (https://kubernetes.io/docs/concepts/workloads/controllers/job/).

    Args:
        job: The spec for one run.
        spec: The queue's.
        chunks: How many there are.
        pods: How many of them are worked on side by side.
    """
    template = job["template"]
    pod = {**template["spec"], "activeDeadlineSeconds": spec.hard_limit_seconds}
    rounds = -(-chunks // pods) * (1 + spec.retry.max_retries)
    longest = rounds * spec.hard_limit_seconds + spec.retry.max_retries * _LONGEST_PAUSE_SECONDS
    without = {name: value for name, value in job.items() if name != "backoffLimit"}
    return {
        **without,
        "completionMode": "Indexed",
        "completions": chunks,
        "parallelism": pods,
        "backoffLimitPerIndex": spec.retry.max_retries,
        "podFailurePolicy": _failure_policy("FailIndex"),
        "activeDeadlineSeconds": min(longest, _LONGEST_SECONDS),
        "template": {**template, "spec": pod},
    }


def disruption_tolerant(job: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a Job whose pod, if a drain, a preemption or its node took it away, has a successor.

    By ``podReplacementPolicy: Failed``, which each Job has, that one starts only when the other has ended.
    """
    return {**job, "podFailurePolicy": _failure_policy("FailJob")}


def _failure_policy(permanent: str) -> dict[str, Any]:
    """Return what Kubernetes makes of a failed pod; ``permanent`` is done where its exit code says that it is no use.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
    """
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": permanent, "onExitCodes": {"operator": "In", "values": sorted(PERMANENT_CODES)}},
        ]
    }


def queued(job: dict[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the spec of a Job that Kueue lets begin, if the labels of the queue's pods name one of its queues.

    Who made a Job must not resume it then (https://kueue.sigs.k8s.io/docs/tasks/run/jobs/).
    """
    return {**job, "suspend": True} if KUEUE_LABEL in labels else job


def chunk_environment() -> list[dict[str, Any]]:
    """Return the variable by which a pod knows its chunk."""
    path = f"metadata.annotations['{INDEX_ANNOTATION}']"
    return [{"name": "B3LB_CHUNK", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}]


def batched_job(job: dict[str, Any], spec: BBBQueueSpec) -> dict[str, Any]:
    """Return the spec of a Job that works on several runs, at worst one after the other."""
    longest = spec.hard_limit_seconds * spec.batch_size
    return {**job, "activeDeadlineSeconds": min(longest, _LONGEST_SECONDS)}


def batch_environment(spec: BBBQueueSpec, job_name: str) -> list[dict[str, Any]]:
    """Return the variables by which a pod finds its runs and knows the hard limit of each."""
    return [
        {"name": "B3LB_JOB_NAME", "value": job_name},
        {"name": "B3LB_TIME_LIMIT_SECONDS", "value": str(spec.hard_limit_seconds)},
    ]
