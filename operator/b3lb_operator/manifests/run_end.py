"""How the Job of an enqueued run ended, when its pod could not say so itself: a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from b3lb.resources.conditions import ConditionStatus, find_condition

PERMANENT_CODES = frozenset({*range(64, 71), 78})
"""Exit codes of b3lb-job that say that another attempt is no use."""

_KILLED = 128
_OUT_OF_MEMORY_CODE = 69
_FINAL_PHASES = ("Succeeded", "Failed")
_DISK_WORDS = ("ephemeral", "EmptyDir")


class Cause(StrEnum):
    """Why a pod ended without a word, as the records of renders have it."""

    WORKER_LOST = "WorkerLost"
    TIMEOUT = "Timeout"
    OUT_OF_MEMORY = "OutOfMemory"
    DISK_FULL = "DiskFull"


@dataclass(frozen=True, slots=True)
class JobEnd:
    """An end that nobody noted; ``passing`` when another attempt makes sense."""

    passing: bool
    error: str
    cause: Cause = Cause.WORKER_LOST


def job_end(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> JobEnd | None:
    """Return how a Job ended, None while it has not.

    Args:
        job: The Job.
        pods: Its pods that still exist.
    """
    conditions = job.get("status", {}).get("conditions", ())
    if _holds(find_condition(conditions, "Complete")):
        return JobEnd(passing=False, error="the pod ended without noting a result")
    failed = find_condition(conditions, "Failed")
    if failed is None or not _holds(failed):
        return None
    if failed.get("reason") == "DeadlineExceeded":
        return _overdue(job)
    # The last pod's end counts: those before it were replaced.
    ordered = sorted(pods, key=lambda pod: pod.get("metadata", {}).get("creationTimestamp") or "")
    ends = [end for pod in ordered for end in _ends(pod)]
    if ends:
        return ends[-1]
    reasons = [f"{pod['status']['reason']}" for pod in ordered if pod.get("status", {}).get("reason")]
    return JobEnd(passing=True, error=f"the pod is gone without a word: {', '.join(reasons) or failed.get('reason')}")


def has_failed(job: Mapping[str, Any]) -> bool:
    """Whether a Job has the condition Failed."""
    return _holds(find_condition(job.get("status", {}).get("conditions", ()), "Failed"))


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Whether nothing of a pod runs any more."""
    return pod.get("status", {}).get("phase") in _FINAL_PHASES


def _holds(condition: Mapping[str, Any] | None) -> bool:
    return condition is not None and condition.get("status") == ConditionStatus.TRUE


def _overdue(limited: Mapping[str, Any]) -> JobEnd:
    """Return the end of a Job or a pod whose own limit of time is over."""
    seconds = limited["spec"].get("activeDeadlineSeconds")
    return JobEnd(passing=False, error=f"the hard time limit of {seconds} s is over", cause=Cause.TIMEOUT)


def _ends(pod: Mapping[str, Any]) -> Iterator[JobEnd]:
    """Yield what a pod says of its end: its own status first, then its container's."""
    status = pod.get("status", {})
    words = status.get("message") or ""
    if status.get("reason") == "DeadlineExceeded":
        yield _overdue(pod)
    elif status.get("reason") == "Evicted" and any(word in words for word in _DISK_WORDS):
        yield JobEnd(passing=True, error=f"the pod was evicted: {words}", cause=Cause.DISK_FULL)
    else:
        yield from map(_pod_end, _terminated(pod))


def _terminated(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for status in pod.get("status", {}).get("containerStatuses", ()):
        state = status.get("state", {}).get("terminated")
        if state is not None:
            yield state


def _pod_end(state: Mapping[str, Any]) -> JobEnd:
    """Return the end of a pod by how its container was terminated."""
    code, reason = state.get("exitCode", 0), state.get("reason", "")
    if reason == "OOMKilled":
        error = "OOMKilled: the pod used more memory than its limit allows"
        return JobEnd(passing=False, error=error, cause=Cause.OUT_OF_MEMORY)
    if code > _KILLED:
        return JobEnd(passing=True, error=f"the pod was killed by signal {code - _KILLED} (exit code {code})")
    cause = Cause.OUT_OF_MEMORY if code == _OUT_OF_MEMORY_CODE else Cause.WORKER_LOST
    return JobEnd(code not in PERMANENT_CODES, f"the pod ended without a word (exit code {code})", cause)
