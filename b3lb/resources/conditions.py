"""Conditions of the custom resources: their types and reasons, and how one is set.

Types and reasons are part of the API: scripts and alerts match them, so they are never renamed.
Rules: Kubernetes API conventions, "Typical status properties".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

MESSAGE_LENGTH = 1024
"""Longest message of a condition, in characters."""


class ConditionStatus(StrEnum):
    """The three values of a condition's status."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class NodeCondition(StrEnum):
    """Condition types of a BBBNode."""

    READY = "Ready"
    SCHEDULABLE = "Schedulable"
    LOAD_REPORTED = "LoadReported"
    DRAINED = "Drained"


class ClusterCondition(StrEnum):
    """Condition types of a BBBCluster."""

    READY = "Ready"
    MASS_FAILURE = "MassFailure"


class QueueCondition(StrEnum):
    """Condition types of a BBBQueue."""

    READY = "Ready"


class NodeBlock(StrEnum):
    """Why a node cannot be polled; each is a reason of Ready=False and heals when its cause is gone."""

    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a password
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"  # noqa: S105 - a reason, not a password
    INVALID_SECRET = "InvalidSecret"  # noqa: S105 - a reason, not a password
    CLUSTER_NOT_FOUND = "ClusterNotFound"
    DUPLICATE_URL = "DuplicateURL"
    INVALID_SPEC = "InvalidSpec"


class NodeReason(StrEnum):
    """Reasons of a BBBNode's conditions beside ``b3lb.health.Reason``, ``b3lb.health.LoadReason`` and ``NodeBlock``."""

    PENDING = "Pending"
    STALE = "Stale"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    SECRET_UNREADABLE = "SecretUnreadable"  # noqa: S105 - a reason, not a password
    DISABLED = "Disabled"
    NOT_READY = "NotReady"
    SCHEDULABLE = "Schedulable"
    SUSPECT = "Suspect"
    CORDONED = "Cordoned"
    DRAINING = "Draining"
    DELETING = "Deleting"
    MAX_MEETINGS_REACHED = "MaxMeetingsReached"
    MAX_ATTENDEES_REACHED = "MaxAttendeesReached"
    MEETINGS_RUNNING = "MeetingsRunning"
    NO_MEETINGS = "NoMeetings"
    DEADLINE_EXCEEDED = "DeadlineExceeded"


class ClusterReason(StrEnum):
    """Reasons of a BBBCluster's conditions."""

    ACCEPTED = "Accepted"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a password
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"  # noqa: S105 - a reason, not a password
    INVALID_CERTIFICATES = "InvalidCertificates"
    INVALID_SPEC = "InvalidSpec"
    PENDING = "Pending"
    STALE = "Stale"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    NODES_FAILING = "NodesFailing"
    BELOW_SHARE = "BelowShare"
    GUARD_EXHAUSTED = "GuardExhausted"


class QueueReason(StrEnum):
    """Reasons of a BBBQueue's condition Ready."""

    SCHEDULED = "Scheduled"
    SUSPENDED = "Suspended"
    PENDING = "Pending"
    UNKNOWN_TASK = "UnknownTask"
    TASK_IN_OTHER_QUEUE = "TaskInOtherQueue"
    IMAGE_MISSING = "ImageMissing"
    REFUSED = "Refused"
    INVALID_SPEC = "InvalidSpec"


def format_time(moment: datetime) -> str:
    """Return ``moment`` (aware) as Kubernetes writes times: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Return the aware time that Kubernetes wrote as ``text`` (RFC 3339).

    Raises:
        ValueError: The text is no such time.
    """
    return datetime.fromisoformat(text).astimezone(UTC)


def find_condition(conditions: Iterable[Mapping[str, Any]], type_: str) -> Mapping[str, Any] | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.get("type") == type_), None)


def set_condition(
    conditions: Iterable[Mapping[str, Any]],
    type_: str,
    *,
    status: ConditionStatus,
    reason: str,
    message: str,
    observed_generation: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """Return ``conditions`` with the one of ``type_`` replaced in its place, or appended.

    ``lastTransitionTime`` becomes ``now`` only when the status differs from the old one. Messages are cut to
    ``MESSAGE_LENGTH`` characters. The input is not changed; conditions of other types stay as they are.
    """
    result = [dict(condition) for condition in conditions]
    old = find_condition(result, type_)
    unmoved = old is not None and old.get("status") == status and bool(old.get("lastTransitionTime"))
    new = {
        "type": str(type_),
        "status": str(status),
        "observedGeneration": observed_generation,
        "lastTransitionTime": old["lastTransitionTime"] if old is not None and unmoved else format_time(now),
        "reason": str(reason),
        "message": message if len(message) <= MESSAGE_LENGTH else message[: MESSAGE_LENGTH - 1] + "…",
    }
    if old is None:
        return [*result, new]
    return [new if condition is old else condition for condition in result]


def remove_condition(conditions: Iterable[Mapping[str, Any]], type_: str) -> list[dict[str, Any]]:
    """Return ``conditions`` without the one of ``type_``."""
    return [dict(condition) for condition in conditions if condition.get("type") != type_]
