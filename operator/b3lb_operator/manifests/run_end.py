"""How the Job of an enqueued run ended, when its pod could not say so itself: a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from b3lb.resources.conditions import ConditionStatus, find_condition

PERMANENT_CODES = frozenset({*range(64, 71), 78})
"""Exit codes of b3lb-job that say that another attempt is no use."""

_KILLED = 128


@dataclass(frozen=True, slots=True)
class JobEnd:
    """An end that nobody noted; ``passing`` when another attempt makes sense."""

    passing: bool
    error: str


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
        seconds = job["spec"].get("activeDeadlineSeconds")
        return JobEnd(passing=False, error=f"the hard time limit of {seconds} s is over")
    ends = [_pod_end(state) for pod in pods for state in _terminated(pod)]
    if ends:
        return ends[-1]
    reasons = [f"{pod['status']['reason']}" for pod in pods if pod.get("status", {}).get("reason")]
    return JobEnd(passing=True, error=f"the pod is gone without a word: {', '.join(reasons) or failed.get('reason')}")


def has_failed(job: Mapping[str, Any]) -> bool:
    """Whether a Job has the condition Failed."""
    return _holds(find_condition(job.get("status", {}).get("conditions", ()), "Failed"))


def _holds(condition: Mapping[str, Any] | None) -> bool:
    return condition is not None and condition.get("status") == ConditionStatus.TRUE


def _terminated(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for status in pod.get("status", {}).get("containerStatuses", ()):
        state = status.get("state", {}).get("terminated")
        if state is not None:
            yield state


def _pod_end(state: Mapping[str, Any]) -> JobEnd:
    """Return the end of a pod by how its container was terminated."""
    code, reason = state.get("exitCode", 0), state.get("reason", "")
    if reason == "OOMKilled":
        return JobEnd(passing=False, error="OOMKilled: the pod used more memory than its limit allows")
    if code > _KILLED:
        return JobEnd(passing=True, error=f"the pod was killed by signal {code - _KILLED} (exit code {code})")
    return JobEnd(passing=code not in PERMANENT_CODES, error=f"the pod ended without a word (exit code {code})")
