"""BBBRecording: a recording in work, held or failed, as people watch and steer it."""

from __future__ import annotations

import re
from enum import StrEnum
from uuid import UUID

from pydantic import ConfigDict, Field

from b3lb.resources.base import NAME_LENGTH, Column, Resource, Rule, Schema, Status, condition_path, rules
from b3lb.resources.conditions import MESSAGE_LENGTH, RecordingCondition

MOST_VIDEOS = 64
"""So many videos of a recording are shown; the CRD allows no more."""

_COUNTER_MAXIMUM = 2**53
_NAMED_BY_ID = "recording-"
_LABEL = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# The API server checks the default {} before it fills it in, so nothing is sure to be there.
_RETRY_RULE = Rule(
    "!has(self.cancel) || !self.cancel || !has(self.retry) || !has(oldSelf.retry) || self.retry == oldSelf.retry",
    "nothing is tried again while cancel is true: write cancel: false together with the new retry",
)


class RecordingPhase(StrEnum):
    """Where a recording is on its way."""

    PENDING = "Pending"
    PAUSED = "Paused"
    RENDERING = "Rendering"
    RENDERED = "Rendered"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    DELETING = "Deleting"


def recording_name(record_id: str, record_set: UUID) -> str:
    """Return the name of the BBBRecording of a record set: its record ID where that can be a name."""
    fits = len(record_id) <= NAME_LENGTH and _DNS_NAME.fullmatch(record_id) and not record_id.startswith(_NAMED_BY_ID)
    return record_id if fits else f"{_NAMED_BY_ID}{record_set}"


class BBBRecordingSpec(Schema):
    """How a recording is rendered; the operator makes the object, people edit it."""

    model_config = ConfigDict(json_schema_extra=rules(_RETRY_RULE))

    priority: int | None = Field(
        default=None,
        ge=0,
        le=9,
        description="What is rendered first, 9 before 0; absent: as the BBBQueue says.",
    )
    paused: bool = Field(
        default=False,
        description="Whether its videos wait. One that is being rendered is stopped and begins anew afterwards.",
    )
    retry: int = Field(
        default=0,
        ge=0,
        le=_COUNTER_MAXIMUM,
        description="Each change of this number renders once more what failed or was cancelled; count on, or write the "
        "time in seconds. Videos that were rendered stay.",
    )
    cancel: bool = Field(
        default=False,
        description="Whether nothing of it is to be rendered any more. Nothing is deleted; to have it rendered after "
        "all, write false and change retry.",
    )


class RecordingVideo(Schema):
    """A video of a recording, made or to be made with one profile."""

    profile: str = Field(max_length=NAME_LENGTH, description="Name of the BBBRecordProfile.")
    state: str = Field(max_length=32, description="PENDING, RENDERING, RENDERED, FAILED or CANCELLED.")
    progress_percent: int | None = Field(default=None, ge=0, le=100, description="How much of it is done.")
    attempts: int = Field(default=0, ge=0, description="How often its rendering began.")
    warnings: int = Field(default=0, ge=0, description="How much of the recording could not be shown in it.")
    reason: str | None = Field(default=None, max_length=128, description="Why it failed, as one word.")
    message: str | None = Field(default=None, max_length=MESSAGE_LENGTH, description="Why it failed, for people.")


class BBBRecordingStatus(Status):
    """What is observed of a recording."""

    record_id: str | None = Field(
        default=None, max_length=1024, description="The recording's ID, which is the internal ID of its meeting."
    )
    tenant: str | None = Field(default=None, max_length=32, description="Slug of the tenant; absent: of none.")
    phase: str | None = Field(
        default=None,
        description="Where it is on its way.",
        json_schema_extra={"enum": [phase.value for phase in RecordingPhase]},
    )
    progress_percent: int | None = Field(
        default=None, ge=0, le=100, description="How much of all its videos is done; follows within 10 s."
    )
    queue_position: int | None = Field(
        default=None,
        ge=1,
        description="How many are to begin up to it, beyond ten about; absent when it does not wait.",
    )
    attempts: int | None = Field(default=None, ge=0, description="The attempts of the video that took most of them.")
    videos: list[RecordingVideo] | None = Field(
        default=None,
        max_length=MOST_VIDEOS,
        description="Its videos, one for each profile.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["profile"]},
    )
    message: str | None = Field(default=None, max_length=MESSAGE_LENGTH, description="What it waits for or failed of.")
    warnings: int | None = Field(
        default=None, ge=0, description="How much of the recording could not be shown, over all its videos."
    )
    uploaded_at: str | None = Field(
        default=None, max_length=64, description="When it came.", json_schema_extra={"format": "date-time"}
    )
    expires_at: str | None = Field(
        default=None,
        max_length=64,
        description="When it is past its hold time and is deleted, unless it is in work or under a legal hold; absent: "
        "it is kept for ever.",
        json_schema_extra={"format": "date-time"},
    )
    legal_hold: bool | None = Field(default=None, description="True while a legal hold keeps it.")


RECORDING = Resource(
    kind="BBBRecording",
    plural="bbbrecordings",
    short_name="bbbr",
    description="A recording in work, held or failed: made by the operator, edited to retry, pause, cancel or prefer "
    "it. Deleting it cancels what is not rendered yet, and never deletes media.",
    spec=BBBRecordingSpec,
    status=BBBRecordingStatus,
    columns=(
        Column("Phase", ".status.phase"),
        Column("Progress", ".status.progressPercent", "integer", description="How much is done, in percent."),
        Column("Tenant", ".status.tenant"),
        Column("Position", ".status.queuePosition", "integer", description="Place among those that wait."),
        Column("Reason", condition_path(RecordingCondition.RENDERED, "reason")),
        Column("Expires At", ".status.expiresAt"),
        Column("Attempts", ".status.attempts", "integer", priority=1),
        Column("Message", ".status.message", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
