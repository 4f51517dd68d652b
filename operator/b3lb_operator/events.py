"""Kubernetes Events: what happened to an object, derived from its old and its new conditions, so that none repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from b3lb.resources.conditions import (
    ClusterCondition,
    ConditionStatus,
    NodeCondition,
    NodeReason,
    QueueCondition,
    QueueReason,
    RecordingCondition,
    SecretReason,
    TenantCondition,
    find_condition,
)
from b3lb.resources.recording import RecordingPhase
from b3lb_operator.kinds import EVENT, FIELD_MANAGER, Kind, Manifest
from b3lb_operator.kube import Kube, KubeError

NORMAL, WARNING = "Normal", "Warning"
LONGEST_NOTE = 1024
LONGEST_NAME = 253
_BACKLOG = 2000

# Accepted and LimitReached of tenants and secrets have the same names.
_READY = frozenset({NodeCondition.READY, ClusterCondition.READY, QueueCondition.READY, TenantCondition.ACCEPTED})
_ALARMS = frozenset({ClusterCondition.MASS_FAILURE, TenantCondition.LIMIT_REACHED})
_WANTED = frozenset({NodeReason.DISABLED, QueueReason.SUSPENDED, SecretReason.TENANT_DISABLED})
_WISHES = frozenset({NodeReason.CORDONED, NodeReason.DRAINING, NodeReason.DELETING})

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Happening:
    """One transition of a condition that people want to read of."""

    condition: str
    type: str
    reason: str
    note: str


class Teller(Protocol):
    """What sends Events."""

    def tell(self, happening: Happening, *, kind: Kind, manifest: Manifest, occasion: str = "") -> None:
        """Send one Event; a second one of the same occasion is none."""


RECORDING_DELETED = Happening(
    RecordingCondition.RENDERED,
    NORMAL,
    "RecordingDeleted",
    "archive and videos are deleted; b3lb recordings audit tells by whom and why",
)


def object_deleted(*, in_work: bool) -> Happening:
    """Return what happened when somebody deleted a BBBRecording."""
    if in_work:
        note = "its BBBRecording was deleted: what was not rendered is cancelled; archive and videos stay"
        return Happening(RecordingCondition.RENDERED, NORMAL, "Cancelled", note)
    note = "its BBBRecording was deleted: it is shown again when there is something to do; archive and videos stay"
    return Happening(RecordingCondition.RENDERED, NORMAL, "Dismissed", note)


def happenings(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Happening]:
    """Iterate over what happened between two statuses of an object.

    Transitions of Ready, Accepted, MassFailure, LimitReached and Drained, and those of Schedulable that follow from
    what the user asked for; the others of Schedulable repeat Ready or come and go with the numbers.
    """
    yield from _recording_happenings(old, new)
    for condition in new.get("conditions", ()):
        before = find_condition(old.get("conditions", ()), condition["type"]) or {}
        type_ = _type_of(before, condition)
        if type_ is not None:
            yield Happening(condition["type"], type_, condition["reason"], condition["message"])


_PHASES = {
    RecordingPhase.RENDERING: (NORMAL, "RenderingStarted"),
    RecordingPhase.RENDERED: (NORMAL, "Rendered"),
    RecordingPhase.FAILED: (WARNING, "RenderingFailed"),
    RecordingPhase.CANCELLED: (NORMAL, "Cancelled"),
}


def _recording_happenings(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Happening]:
    """Iterate over what happened to a recording: its phases, but no news of one that was rendered long ago."""
    phase, before = new.get("phase"), old.get("phase")
    if phase is None or phase == before:
        return
    condition = find_condition(new.get("conditions", ()), RecordingCondition.RENDERED) or {}
    reason, message = condition.get("reason", ""), condition.get("message", "")
    if before is None and phase in {RecordingPhase.PENDING, RecordingPhase.PAUSED}:
        yield Happening(RecordingCondition.RENDERED, NORMAL, "RecordingUploaded", message)
    elif phase in _PHASES and (before is not None or phase != RecordingPhase.RENDERED):
        type_, name = _PHASES[RecordingPhase(phase)]
        note = f"{reason}: {message}" if phase == RecordingPhase.FAILED else message
        yield Happening(RecordingCondition.RENDERED, type_, name, note)


def _type_of(before: Mapping[str, Any], condition: Mapping[str, Any]) -> str | None:
    """Return the type of the Event for a condition, None for no Event."""
    if condition["type"] in _READY:
        return _ready_type(before, condition)
    if condition["type"] == NodeCondition.SCHEDULABLE:
        return _schedulable_type(before, condition)
    if condition["type"] in _ALARMS:
        return _alarm_type(before, condition)
    if condition["type"] == NodeCondition.DRAINED:
        return _drained_type(before, condition)
    return None


def _schedulable_type(before: Mapping[str, Any], condition: Mapping[str, Any]) -> str | None:
    wished = condition["reason"] in _WISHES and before.get("reason") != condition["reason"]
    back = condition["status"] == ConditionStatus.TRUE and before.get("reason") in _WISHES
    return NORMAL if wished or back else None


def _alarm_type(before: Mapping[str, Any], condition: Mapping[str, Any]) -> str | None:
    held = before.get("status") == ConditionStatus.TRUE
    if condition["status"] == ConditionStatus.TRUE:
        return None if held else WARNING
    return NORMAL if held else None


def _drained_type(before: Mapping[str, Any], condition: Mapping[str, Any]) -> str | None:
    if condition["status"] == ConditionStatus.TRUE:
        return NORMAL if before.get("status") != ConditionStatus.TRUE else None
    overdue = condition["reason"] == NodeReason.DEADLINE_EXCEEDED and before.get("reason") != condition["reason"]
    return WARNING if overdue else None


def _ready_type(before: Mapping[str, Any], condition: Mapping[str, Any]) -> str | None:
    if condition["status"] == before.get("status"):
        return None
    if condition["status"] == ConditionStatus.TRUE:
        return NORMAL
    if condition["status"] == ConditionStatus.UNKNOWN:
        # Every new object begins like this; only losing sight of a known one is news.
        return WARNING if before.get("status") == ConditionStatus.TRUE else None
    return NORMAL if condition["reason"] in _WANTED else WARNING


def build_event(
    happening: Happening, *, kind: Kind, manifest: Manifest, instance: str, now: datetime, occasion: str = ""
) -> Manifest:
    """Return the Event (events.k8s.io/v1) for an object as it is after the transition.

    Its name follows from the occasion, by default the object's resource version, so that creating it again does no
    harm.
    """
    metadata = manifest["metadata"]
    suffix = f".{occasion or metadata['resourceVersion']}.{happening.condition.lower()}"
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {
            "namespace": metadata["namespace"],
            "name": metadata["name"][: LONGEST_NAME - len(suffix)] + suffix,
        },
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": happening.type,
        "reason": happening.reason,
        "note": happening.note.encode()[:LONGEST_NOTE].decode(errors="ignore"),
        "action": f"{happening.condition}Changed",
        "reportingController": FIELD_MANAGER,
        "reportingInstance": instance[:128],
        "regarding": {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
    }


class EventRecorder:
    """Sends Events one after the other, apart from the work that they tell of; too many are dropped."""

    def __init__(self, kube: Kube, *, instance: str) -> None:
        self._kube = kube
        self._instance = instance
        self._backlog: asyncio.Queue[Manifest] = asyncio.Queue(_BACKLOG)

    def record(self, kind: Kind, manifest: Manifest, old: Mapping[str, Any]) -> None:
        """Send what happened to an object since its status was ``old``."""
        for happening in happenings(old, manifest.get("status", {})):
            self.tell(happening, kind=kind, manifest=manifest)

    def tell(self, happening: Happening, *, kind: Kind, manifest: Manifest, occasion: str = "") -> None:
        """Send one Event; a second one of the same occasion (default: the object's resource version) is none."""
        now = datetime.now(UTC)
        event = build_event(
            happening, kind=kind, manifest=manifest, instance=self._instance, now=now, occasion=occasion
        )
        if self._backlog.full():
            _log.warning("event dropped", regarding=manifest["metadata"]["name"], reason=happening.reason)
        else:
            self._backlog.put_nowait(event)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            event = await self._backlog.get()
            try:
                await self._kube.create_event(event)
            except KubeError as error:
                _log.warning("event not sent", name=event["metadata"]["name"], error=str(error))
