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


class TenantCondition(StrEnum):
    """Condition types of a BBBTenant."""

    ACCEPTED = "Accepted"
    LIMIT_REACHED = "LimitReached"


class SecretCondition(StrEnum):
    """Condition types of a BBBSecret."""

    ACCEPTED = "Accepted"
    LIMIT_REACHED = "LimitReached"


class RecordProfileCondition(StrEnum):
    """Condition types of a BBBRecordProfile."""

    ACCEPTED = "Accepted"


class RecordingCondition(StrEnum):
    """Condition types of a BBBRecording."""

    RENDERED = "Rendered"


class NodeBlock(StrEnum):
    """Why a node cannot be polled; each is a reason of Ready=False and heals when its cause is gone."""

    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a password
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"  # noqa: S105 - a reason, not a password
    INVALID_SECRET = "InvalidSecret"  # noqa: S105 - a reason, not a password
    CLUSTER_NOT_FOUND = "ClusterNotFound"
    CA_SECRET_NOT_FOUND = "CASecretNotFound"  # noqa: S105 - a reason, not a password
    CA_SECRET_KEY_NOT_FOUND = "CASecretKeyNotFound"  # noqa: S105 - a reason, not a password
    INVALID_CERTIFICATES = "InvalidCertificates"
    DUPLICATE_URL = "DuplicateURL"
    INVALID_SPEC = "InvalidSpec"
    DATABASE_REFUSED = "DatabaseRefused"


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
    DUPLICATE_SERVER = "DuplicateServer"
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
    UPLOAD_SECRET_NOT_FOUND = "UploadSecretNotFound"  # noqa: S105 - a reason, not a password
    UPLOAD_SECRET_KEY_NOT_FOUND = "UploadSecretKeyNotFound"  # noqa: S105 - a reason, not a password
    INVALID_UPLOAD_SECRET = "InvalidUploadSecret"  # noqa: S105 - a reason, not a password
    INVALID_SPEC = "InvalidSpec"
    DATABASE_REFUSED = "DatabaseRefused"
    PENDING = "Pending"
    STALE = "Stale"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    NODES_FAILING = "NodesFailing"
    BELOW_SHARE = "BelowShare"
    GUARD_EXHAUSTED = "GuardExhausted"


class QueueReason(StrEnum):
    """Reasons of a BBBQueue's condition Ready."""

    SCHEDULED = "Scheduled"
    ON_DEMAND = "OnDemand"
    SUSPENDED = "Suspended"
    PENDING = "Pending"
    UNKNOWN_TASK = "UnknownTask"
    TASK_IN_OTHER_QUEUE = "TaskInOtherQueue"
    IMAGE_MISSING = "ImageMissing"
    JOBS_FAILING = "JobsFailing"
    REFUSED = "Refused"
    INVALID_SPEC = "InvalidSpec"
    DATABASE_REFUSED = "DatabaseRefused"


class TenantReason(StrEnum):
    """Reasons of a BBBTenant's conditions beside ``LimitReason``."""

    ACCEPTED = "Accepted"
    DISABLED = "Disabled"
    SLUG_IN_USE = "SlugInUse"
    CLUSTER_NOT_FOUND = "ClusterNotFound"
    INVALID_SPEC = "InvalidSpec"
    DATABASE_REFUSED = "DatabaseRefused"
    PENDING = "Pending"
    STALE = "Stale"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"


class SecretReason(StrEnum):
    """Reasons of a BBBSecret's conditions beside ``LimitReason``."""

    ACCEPTED = "Accepted"
    DISABLED = "Disabled"
    TENANT_DISABLED = "TenantDisabled"
    TENANT_NOT_FOUND = "TenantNotFound"
    TENANT_NOT_ACCEPTED = "TenantNotAccepted"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a password
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"  # noqa: S105 - a reason, not a password
    INVALID_SECRET = "InvalidSecret"  # noqa: S105 - a reason, not a password
    SECRET_CONFLICT = "SecretConflict"  # noqa: S105 - a reason, not a password
    RECORD_PROFILE_NOT_FOUND = "RecordProfileNotFound"
    INVALID_SPEC = "InvalidSpec"
    DATABASE_REFUSED = "DatabaseRefused"
    PENDING = "Pending"
    STALE = "Stale"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"


class LimitReason(StrEnum):
    """Reasons of the condition LimitReached of a BBBTenant or a BBBSecret."""

    MEETING_LIMIT_REACHED = "MeetingLimitReached"
    ATTENDEE_LIMIT_REACHED = "AttendeeLimitReached"
    BELOW_LIMITS = "BelowLimits"
    NO_LIMITS = "NoLimits"


class RecordProfileReason(StrEnum):
    """Reasons of a BBBRecordProfile's condition Accepted."""

    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    DATABASE_REFUSED = "DatabaseRefused"
    PENDING = "Pending"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"


class RecordingReason(StrEnum):
    """Reasons of a BBBRecording's condition Rendered beside those for which a video failed."""

    RENDERED = "Rendered"
    WAITING = "Waiting"
    RENDERING = "Rendering"
    PAUSED = "Paused"
    CANCELLED = "Cancelled"
    DELETING = "Deleting"
    NOT_FOUND = "NotFound"


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
