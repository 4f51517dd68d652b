"""Recordings, callbacks and the audit as people and programs are shown them: pure functions, and nothing secret.

What names a video in its public address is left out: whoever knows that sees the video.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from b3lb.db.callbacks import ShownCallback
from b3lb.db.legal_hold import AuditLine
from b3lb.db.recordings import Recording, Video
from b3lb.recordings.hold import RecordSetState, expires_at, hold_days
from b3lb.views.values import Document, timestamp

_SECOND = 1000
_WHOLE = 100.0
_DONE = "RENDERED"


def recording_document(recording: Recording) -> Document:
    """Return a recording; times are ISO 8601 in UTC, sizes bytes."""
    found, videos = recording.record_set, recording.videos
    return {
        "recordID": found.record_id,
        "recordSet": str(found.id),
        "namespace": found.namespace,
        "meetingID": found.meeting_id,
        "meetingName": found.meeting_name,
        "tenant": found.tenant_slug,
        "subID": found.sub_id,
        "cluster": found.cluster_name,
        "node": found.node_name,
        "state": found.state,
        "progressPercent": progress(found.state, videos),
        "paused": found.paused,
        "priority": found.priority,
        "reason": found.reason,
        "message": found.message,
        "attempts": sum(video.attempts for video in videos),
        "warningCount": sum(video.warning_count for video in videos),
        "startedAt": timestamp(found.started_at),
        "endedAt": timestamp(found.ended_at),
        "durationSeconds": _seconds(found.duration_milliseconds),
        "participants": found.participants,
        "uploadedAt": timestamp(found.uploaded_at),
        "renderingAt": timestamp(found.rendering_at),
        "renderedAt": timestamp(found.rendered_at),
        "failedAt": timestamp(found.failed_at),
        "deletingAt": timestamp(found.deleting_at),
        "archiveBytes": None if found.archive_key is None else found.archive_bytes,
        "videoBytes": sum(video.file_bytes or 0 for video in videos),
        "legalHold": found.legal_hold,
        "legalHoldReason": found.legal_hold_reason,
        "holdDays": hold_days(found.tenant_days, found.secret_days),
        "expiresAt": timestamp(expires_at(found.held)),
        "videos": [_video(video) for video in videos],
        "callbacks": [callback_document(callback) for callback in recording.callbacks],
    }


def progress(state: str, videos: Sequence[Video]) -> float | None:
    """Return how much of the work on a record set is done, in per cent; None while nothing is planned."""
    if state == RecordSetState.RENDERED:
        return _WHOLE
    if not videos:
        return None
    parts = [_WHOLE if video.state == _DONE else video.progress_percent or 0.0 for video in videos]
    return round(sum(parts) / len(parts), 1)


def _video(video: Video) -> Document:
    return {
        "profile": video.profile,
        "state": video.state,
        "progressPercent": video.progress_percent,
        "progressMessage": video.progress_message,
        "progressAt": timestamp(video.progress_at),
        "run": None if video.run_id is None else str(video.run_id),
        "attempts": video.attempts,
        "memorySteps": video.memory_steps,
        "startedAt": timestamp(video.started_at),
        "finishedAt": timestamp(video.finished_at),
        "bytes": video.file_bytes,
        "contentType": video.content_type,
        "durationSeconds": _seconds(video.duration_milliseconds),
        "width": video.width,
        "height": video.height,
        "reason": video.reason,
        "message": video.message,
        "warningCount": video.warning_count,
        "warnings": list(video.warnings),
    }


def callback_document(callback: ShownCallback) -> Document:
    """Return a callback."""
    delivery = callback.delivery
    return {
        "namespace": callback.namespace,
        "kind": callback.kind,
        "recordID": callback.record_id,
        "url": shown_url(callback.url),
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "createdAt": timestamp(delivery.created_at),
        "lastAttemptAt": timestamp(delivery.last_attempt_at),
        "nextAttemptAt": None if delivery.finished_at else timestamp(delivery.next_attempt_at),
        "finishedAt": timestamp(delivery.finished_at),
        "statusCode": delivery.status_code,
        "reason": delivery.reason,
        "message": delivery.message,
    }


def shown_url(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, and the values of its query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "…"
    address = f"[{host}]{port}" if ":" in host else f"{host}{port}"
    return urlunsplit((parts.scheme, address, parts.path, "…" if parts.query else "", ""))


def audit_document(line: AuditLine) -> Document:
    """Return a line of the audit."""
    return {
        "id": line.id,
        "namespace": line.namespace,
        "at": timestamp(line.at),
        "action": line.action,
        "kind": line.kind,
        "subject": line.subject,
        "tenant": line.tenant_slug,
        "actor": line.actor,
        "reason": line.reason,
        "objects": line.objects,
        "bytes": line.bytes,
        "details": dict(line.details),
    }


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else round(milliseconds / _SECOND, 3)
