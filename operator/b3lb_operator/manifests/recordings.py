"""The BBBRecording of a recording: the object, its status and when it goes; pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from b3lb.recordings.hold import RecordSetState
from b3lb.recordings.steering import Recording, Video, progress
from b3lb.resources.conditions import (
    MESSAGE_LENGTH,
    ConditionStatus,
    RecordingCondition,
    RecordingReason,
    format_time,
    parse_time,
)
from b3lb.resources.recording import MOST_VIDEOS, RecordingPhase
from b3lb.tasks import RENDER_RECORD
from b3lb.window import Window
from b3lb_operator.kinds import RECORDING, Manifest
from b3lb_operator.manifests.facts import Verdict
from b3lb_operator.manifests.verdicts import set_conditions

KEPT_FOR = timedelta(hours=1)
"""So long the object of a recording that is rendered stays, for people to see it."""

_REASONS = {
    RecordingPhase.PENDING: RecordingReason.WAITING,
    RecordingPhase.PAUSED: RecordingReason.PAUSED,
    RecordingPhase.RENDERING: RecordingReason.RENDERING,
    RecordingPhase.RENDERED: RecordingReason.RENDERED,
    RecordingPhase.CANCELLED: RecordingReason.CANCELLED,
    RecordingPhase.DELETING: RecordingReason.DELETING,
}


@dataclass(frozen=True, slots=True)
class RecordQueue:
    """The BBBQueue that renders; ``name`` is None if there is none, ``suspended`` if it starts nothing.

    It works when its window is open; ``hours`` are its words for that, such as ``20:00 to 06:00 (Europe/Berlin)``.
    """

    name: str | None
    suspended: bool = False
    priority: int = 5
    window: Window | None = None
    hours: str = ""


def build_recording(recording: Recording, namespace: str) -> Manifest:
    """Return the BBBRecording to be made; what people wished before stands in it."""
    spec: dict[str, Any] = {"priority": recording.priority} if recording.priority is not None else {}
    spec |= {"paused": True} if recording.paused else {}
    spec |= {"retry": recording.retry} if recording.retry else {}
    labels = {"app.kubernetes.io/part-of": "b3lb", "app.kubernetes.io/managed-by": "b3lb-operator"}
    if recording.tenant_slug is not None:
        labels["b3lb.io/tenant"] = recording.tenant_slug.lower()
    return {
        "apiVersion": RECORDING.api_version,
        "kind": RECORDING.name,
        "metadata": {"namespace": namespace, "name": recording.name, "labels": labels},
        "spec": spec,
    }


def is_to_go(recording: Recording | None, manifest: Manifest, now: datetime) -> bool:
    """Whether a BBBRecording has told what it had to: its recording is gone, or rendered for a while and not held."""
    if recording is None or recording.state is RecordSetState.DELETING:
        return True
    if recording.is_shown:
        return False
    created = parse_time(manifest["metadata"]["creationTimestamp"])
    return now > max(created, recording.rendered_at or created) + KEPT_FOR


def was_shown(manifest: Manifest) -> bool:
    """Whether a BBBRecording was ever that of a recording."""
    return (manifest.get("status") or {}).get("phase") is not None


def phase_of(recording: Recording) -> RecordingPhase:
    """Return where a recording is on its way."""
    if recording.is_in_work:
        if recording.paused:
            return RecordingPhase.PAUSED
        at_work = any(video.state == "RENDERING" for video in recording.videos)
        return RecordingPhase.RENDERING if at_work else RecordingPhase.PENDING
    if recording.state is RecordSetState.FAILED:
        return RecordingPhase.CANCELLED if recording.reason == RecordingReason.CANCELLED else RecordingPhase.FAILED
    return RecordingPhase.RENDERED if recording.state is RecordSetState.RENDERED else RecordingPhase.DELETING


def recording_status(
    recording: Recording, manifest: Manifest, *, queue: RecordQueue, position: int | None, now: datetime
) -> dict[str, Any]:
    """Return the whole status of a BBBRecording; absent keys are to be removed from the object.

    Args:
        recording: What is stored; it follows what the object asks for.
        manifest: The live object.
        queue: What renders it.
        position: Its place among those that wait, None if it does not or that is not known.
        now: The database's time.
    """
    phase = phase_of(recording)
    message = _message(recording, phase, queue, now)
    reason = _REASONS.get(phase) or recording.reason or "Failed"
    status = ConditionStatus.TRUE if phase is RecordingPhase.RENDERED else ConditionStatus.FALSE
    generation = manifest["metadata"]["generation"]
    verdict = Verdict(status=status, reason=str(reason), message=message)
    fields: dict[str, Any] = {
        "recordId": recording.record_id[:MESSAGE_LENGTH],
        "tenant": recording.tenant_slug,
        "phase": str(phase),
        "progressPercent": progress(recording.videos),
        "queuePosition": position if phase is RecordingPhase.PENDING else None,
        "attempts": max((video.attempts for video in recording.videos), default=0),
        "videos": [_video(video) for video in recording.videos[:MOST_VIDEOS]],
        "message": message,
        "warnings": sum(video.warnings for video in recording.videos),
        "uploadedAt": format_time(recording.uploaded_at),
        "expiresAt": None if recording.expires_at is None else format_time(recording.expires_at),
        "legalHold": True if recording.legal_hold else None,
    }
    return {
        "observedGeneration": generation,
        **{name: value for name, value in fields.items() if value is not None},
        "conditions": set_conditions(
            (manifest.get("status") or {}).get("conditions", ()),
            {RecordingCondition.RENDERED: verdict},
            generation=generation,
            now=now,
        ),
    }


def _video(video: Video) -> dict[str, Any]:
    percent = 100 if video.state == "RENDERED" else video.progress_percent
    fields = {
        "profile": video.profile,
        "state": video.state,
        "progressPercent": None if percent is None else int(percent),
        "attempts": video.attempts,
        "warnings": video.warnings,
        "reason": video.reason,
        "message": None if video.message is None else video.message[:MESSAGE_LENGTH],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _message(recording: Recording, phase: RecordingPhase, queue: RecordQueue, now: datetime) -> str:
    """Return what a recording waits for, does or failed of, for people."""
    match phase:
        case RecordingPhase.PENDING:
            message = _waiting_message(recording, queue, now)
        case RecordingPhase.RENDERING:
            at_work = (video for video in recording.videos if video.state == "RENDERING")
            message = ", ".join(_with(video.profile, video.progress_message) for video in at_work)
        case RecordingPhase.RENDERED:
            message = f"rendered with {', '.join(video.profile for video in recording.videos) or 'no profile'}"
        case RecordingPhase.PAUSED:
            message = "spec.paused is true: nothing of it is rendered until it is false"
        case RecordingPhase.CANCELLED:
            message = "it was cancelled; change spec.retry to have it rendered after all"
        case _:
            message = recording.message or str(phase)
    return message[:MESSAGE_LENGTH]


def _waiting_message(recording: Recording, queue: RecordQueue, now: datetime) -> str:
    if queue.name is None:
        return f"no BBBQueue runs the task {RENDER_RECORD}"
    if queue.suspended:
        return f"BBBQueue {queue.name} is suspended"
    opens_at = None if queue.window is None else queue.window.opens_at(now)
    if opens_at is not None:
        return f"waits for the window of BBBQueue {queue.name}, {queue.hours}, which opens at {format_time(opens_at)}"
    failed = next((video for video in recording.videos if video.state == "PENDING" and video.reason), None)
    if failed is not None:
        return f"{failed.profile} is tried again: {_with(str(failed.reason), failed.message)}"
    return f"waits in BBBQueue {queue.name}"


def _with(text: str, more: str | None) -> str:
    return f"{text}: {more}" if more else text
