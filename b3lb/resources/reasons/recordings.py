"""What the reasons of a BBBRecording mean."""

from __future__ import annotations

from b3lb.resources.conditions import RecordingCondition, RecordingReason
from b3lb.resources.reasons.meaning import Meaning, meanings

FAILURES = {
    "ArchiveMissing": "The storage has no archive of the recording.",
    "ArchiveEmpty": "The archive holds nothing.",
    "ArchiveCorrupt": "The archive cannot be read, or is not the one that was uploaded: upload it again.",
    "ArchiveUnsafe": "The archive holds what no recording does, e.g. links or paths that lead out of it.",
    "ArchiveTooLarge": "The archive holds more than a recording may.",
    "RecordingIncomplete": "Files are missing without which nothing can be shown.",
    "XmlInvalid": "A file that describes the recording cannot be read.",
    "MediaCorrupt": "Neither video nor sound can be read.",
    "NothingToRender": "Nothing was recorded that could be shown.",
    "NoProfile": "There is no BBBRecordProfile to render with, or not the one that the BBBSecret names; it is rendered "
    "when there is.",
    "ProfileInvalid": "FFmpeg cannot do what the BBBRecordProfile asks for.",
    "StorageUnavailable": "The storage could not be reached in any attempt.",
    "StorageNotConfigured": "The pods of the BBBQueue are not told where recordings are: see the chart's storage.",
    "DiskFull": "The pod's disk was full in each attempt: give the BBBRecordProfile more ephemeral-storage.",
    "WorkerLost": "The pod died without a word in each attempt, e.g. with its node.",
    "JobRefused": "Kubernetes does not take the Job; the message says why.",
    "OutOfMemory": "The pod ran out of memory, and so it did with half as much again: give the profile more.",
    "Timeout": "It took longer than it may, or did not get on any more.",
    "EncoderFailed": "FFmpeg failed; the message has its last lines.",
    "VerifyFailed": "The video is not what it should be, e.g. too short.",
    "InternalError": "A fault of b3lb: the pod's log has the traceback; report it.",
}
"""Reasons for which a video fails: the renderer's and the plan's."""

RECORDING_REASONS = (
    *meanings(RecordingCondition.RENDERED, "True", {RecordingReason.RENDERED: "All its videos are there."}),
    *meanings(
        RecordingCondition.RENDERED,
        "False",
        {
            RecordingReason.WAITING: "Its videos wait to be rendered; see queuePosition and message.",
            RecordingReason.RENDERING: "At least one of its videos is being rendered.",
            RecordingReason.PAUSED: "spec.paused is true.",
            RecordingReason.CANCELLED: "Somebody cancelled it, by spec.cancel, by deleting the BBBRecording or by "
            "revoking its runs; change spec.retry to have it rendered after all.",
            RecordingReason.DELETING: "It is being deleted.",
            RecordingReason.NOT_FOUND: "There is no such recording; the object goes in a moment.",
            **FAILURES,
        },
    ),
    Meaning(RecordingCondition.RENDERED, "False", "…", "Any other reason for which its first video failed."),
)
