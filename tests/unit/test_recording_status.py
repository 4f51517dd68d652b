"""The BBBRecording of a recording: its object, status, events, and when it goes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from b3lb.recordings.hold import RecordSetState
from b3lb.recordings.steering import Recording, RenderRun, Video
from b3lb.resources.recording import MOST_VIDEOS, BBBRecordingSpec, BBBRecordingStatus
from b3lb.window import parse_window
from b3lb_operator.events import happenings
from b3lb_operator.kinds import RECORDING, Manifest
from b3lb_operator.manifests.recordings import KEPT_FOR, RecordQueue, build_recording, is_to_go, recording_status
from tests.unit.operator_fakes import NAMESPACE, manifest_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUEUE = RecordQueue("record")
WAITS = RenderRun(state="PENDING", over=False, in_flight=False, queue="record", enqueued_at=NOW)
VIDEO = Video(id=uuid4(), profile="hd", state="PENDING", run_id=uuid4(), run=WAITS)
RECORDING_ROW = Recording(
    id=uuid4(),
    name="r-1",
    record_id="r-1",
    state=RecordSetState.UPLOADED,
    uploaded_at=NOW,
    tenant_slug="UNI",
    videos=(VIDEO,),
)


def shown(recording: Recording, manifest: Manifest | None = None, **fields: Any) -> dict[str, Any]:
    live = manifest or manifest_of(RECORDING, "r-1")
    return recording_status(recording, live, **{"queue": QUEUE, "position": 3, "now": NOW, **fields})


def video(**fields: Any) -> Recording:
    return replace(RECORDING_ROW, videos=(replace(VIDEO, **fields),))


@pytest.mark.parametrize(
    ("recording", "phase", "reason", "words"),
    [
        (RECORDING_ROW, "Pending", "Waiting", "waits in BBBQueue record"),
        (video(reason="DiskFull", message="no space"), "Pending", "Waiting", "hd is tried again: DiskFull: no space"),
        (replace(RECORDING_ROW, paused=True), "Paused", "Paused", "spec.paused"),
        (video(state="RENDERING", progress_message="encoding"), "Rendering", "Rendering", "hd: encoding"),
        (replace(video(state="RENDERED"), state=RecordSetState.RENDERED), "Rendered", "Rendered", "rendered with hd"),
        (
            replace(RECORDING_ROW, state=RecordSetState.FAILED, reason="Timeout", message="hd: too slow"),
            "Failed",
            "Timeout",
            "hd: too slow",
        ),
        (
            replace(RECORDING_ROW, state=RecordSetState.FAILED, reason="Cancelled"),
            "Cancelled",
            "Cancelled",
            "change spec.retry",
        ),
        (replace(RECORDING_ROW, state=RecordSetState.DELETING, reason="PastHold"), "Deleting", "Deleting", "Deleting"),
    ],
)
def test_phase_reason_and_message_follow_from_the_rows(
    recording: Recording, phase: str, reason: str, words: str
) -> None:
    status = shown(recording)
    assert (status["phase"], status["conditions"][0]["reason"]) == (phase, reason)
    assert words in status["message"]
    assert status["message"] == status["conditions"][0]["message"]
    assert ("queuePosition" in status) == (phase == "Pending")
    BBBRecordingStatus.model_validate(status)


def test_what_keeps_it_waiting_is_said() -> None:
    assert "no BBBQueue" in shown(RECORDING_ROW, queue=RecordQueue(None))["message"]
    assert "suspended" in shown(RECORDING_ROW, queue=RecordQueue("record", suspended=True))["message"]


def test_the_window_that_it_waits_for_is_said_until_it_opens() -> None:
    window = parse_window("20:00", "06:00", "Europe/Berlin")
    queue = RecordQueue("record", window=window, hours="20:00 to 06:00 (Berlin)")
    words = "waits for the window of BBBQueue record, 20:00 to 06:00 (Berlin), which opens at 2026-03-01T19:00:00Z"
    assert shown(RECORDING_ROW, queue=queue)["message"] == words
    assert shown(RECORDING_ROW, queue=queue, now=NOW.replace(hour=19))["message"] == "waits in BBBQueue record"


def test_texts_and_lists_are_bounded() -> None:
    videos = tuple(replace(VIDEO, profile=f"p-{number}", message="x" * 5000) for number in range(100))
    status = shown(replace(RECORDING_ROW, videos=videos, record_id="r" * 5000))
    assert len(status["videos"]) == MOST_VIDEOS
    BBBRecordingStatus.model_validate(status)


def test_hold_warnings_and_attempts_are_shown_where_there_are_any() -> None:
    held = replace(video(warnings=4, attempts=2), legal_hold=True, expires_at=NOW + timedelta(days=1))
    status = shown(held)
    assert (status["legalHold"], status["warnings"], status["attempts"]) == (True, 4, 2)
    assert status["expiresAt"] == "2026-03-02T12:00:00Z"
    assert not {"legalHold", "expiresAt"} & shown(RECORDING_ROW).keys()


def test_a_new_object_says_what_people_wished_before_and_has_no_finalizer() -> None:
    plain = build_recording(RECORDING_ROW, NAMESPACE)
    assert plain["spec"] == {}
    assert plain["metadata"] == {
        "namespace": NAMESPACE,
        "name": "r-1",
        "labels": {
            "app.kubernetes.io/part-of": "b3lb",
            "app.kubernetes.io/managed-by": "b3lb-operator",
            "b3lb.io/tenant": "uni",
        },
    }
    wished = build_recording(replace(RECORDING_ROW, priority=0, paused=True, retry=7, tenant_slug=None), NAMESPACE)
    assert wished["spec"] == {"priority": 0, "paused": True, "retry": 7}
    assert "b3lb.io/tenant" not in wished["metadata"]["labels"]
    BBBRecordingSpec.model_validate(wished["spec"])


def test_an_object_goes_when_it_has_told_what_it_had_to() -> None:
    live = manifest_of(RECORDING, "r-1")
    done = replace(RECORDING_ROW, state=RecordSetState.RENDERED, rendered_at=NOW)
    assert is_to_go(None, live, NOW)
    assert is_to_go(replace(RECORDING_ROW, state=RecordSetState.DELETING), live, NOW)
    assert not is_to_go(RECORDING_ROW, live, NOW + timedelta(days=400))
    assert not is_to_go(done, live, NOW + KEPT_FOR)
    assert is_to_go(done, live, NOW + KEPT_FOR + timedelta(seconds=1))
    assert not is_to_go(replace(done, legal_hold=True), live, NOW + timedelta(days=1))
    young = manifest_of(RECORDING, "r-1", creationTimestamp="2026-03-05T12:00:00Z")
    assert not is_to_go(done, young, datetime(2026, 3, 5, 12, 30, tzinfo=UTC))


FAILED = replace(RECORDING_ROW, state=RecordSetState.FAILED, reason="Timeout", message="hd: too slow")
DONE = replace(video(state="RENDERED"), state=RecordSetState.RENDERED)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, RECORDING_ROW, [("Normal", "RecordingUploaded")]),
        (None, FAILED, [("Warning", "RenderingFailed")]),
        (None, DONE, []),
        (RECORDING_ROW, RECORDING_ROW, []),
        (RECORDING_ROW, video(state="RENDERING"), [("Normal", "RenderingStarted")]),
        (video(state="RENDERING"), DONE, [("Normal", "Rendered")]),
        (video(state="RENDERING"), FAILED, [("Warning", "RenderingFailed")]),
        (RECORDING_ROW, replace(FAILED, reason="Cancelled", message=None), [("Normal", "Cancelled")]),
        (FAILED, RECORDING_ROW, []),
    ],
)
def test_events_tell_of_phases(before: Recording | None, after: Recording, expected: list[tuple[str, str]]) -> None:
    old = {} if before is None else shown(before)
    found = list(happenings(old, shown(after)))
    assert [(item.type, item.reason) for item in found] == expected
    if after is FAILED and expected:
        assert found[0].note == "Timeout: hd: too slow"
