"""Which transitions of conditions become Events, and what an Event looks like."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog.testing

from b3lb_operator.events import EventRecorder, build_event, happenings
from b3lb_operator.kinds import NODE
from b3lb_operator.kube import ForbiddenError
from tests.unit.operator_fakes import NOW, FakeKube, node_manifest


def status(**conditions: str) -> dict[str, Any]:
    """Return a status from `Type="Status/Reason"`."""
    pairs = {type_: text.split("/") for type_, text in conditions.items()}
    return {
        "conditions": [
            {"type": type_, "status": value, "reason": reason, "message": f"why {reason}"}
            for type_, (value, reason) in pairs.items()
        ]
    }


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {"Ready": "Unknown/Pending"}, []),
        ({}, {"Ready": "True/Responding"}, [("Normal", "Responding")]),
        ({"Ready": "Unknown/Pending"}, {"Ready": "False/Timeout"}, [("Warning", "Timeout")]),
        ({"Ready": "False/Timeout"}, {"Ready": "False/Refused"}, []),
        ({"Ready": "True/Responding"}, {"Ready": "Unknown/Stale"}, [("Warning", "Stale")]),
        ({"Ready": "False/Timeout"}, {"Ready": "Unknown/Stale"}, []),
        ({"Ready": "True/Responding"}, {"Ready": "False/Disabled"}, [("Normal", "Disabled")]),
        ({"Ready": "True/Scheduled"}, {"Ready": "False/Suspended"}, [("Normal", "Suspended")]),
        ({"Ready": "True/Scheduled"}, {"Ready": "False/UnknownTask"}, [("Warning", "UnknownTask")]),
        ({"Schedulable": "True/Schedulable"}, {"Schedulable": "False/Suspect"}, []),
        ({"Schedulable": "False/Timeout"}, {"Schedulable": "True/Schedulable"}, []),
        ({"Schedulable": "True/Schedulable"}, {"Schedulable": "False/Cordoned"}, [("Normal", "Cordoned")]),
        ({"Schedulable": "False/Cordoned"}, {"Schedulable": "False/Draining"}, [("Normal", "Draining")]),
        ({"Schedulable": "False/Draining"}, {"Schedulable": "False/Deleting"}, [("Normal", "Deleting")]),
        ({"Schedulable": "False/Cordoned"}, {"Schedulable": "True/Schedulable"}, [("Normal", "Schedulable")]),
        ({}, {"MassFailure": "False/BelowShare"}, []),
        ({"MassFailure": "False/BelowShare"}, {"MassFailure": "True/NodesFailing"}, [("Warning", "NodesFailing")]),
        ({"MassFailure": "True/NodesFailing"}, {"MassFailure": "False/BelowShare"}, [("Normal", "BelowShare")]),
        ({"Accepted": "Unknown/Pending"}, {"Accepted": "True/Accepted"}, [("Normal", "Accepted")]),
        ({"Accepted": "Unknown/Pending"}, {"Accepted": "False/SlugInUse"}, [("Warning", "SlugInUse")]),
        ({"Accepted": "True/Accepted"}, {"Accepted": "False/TenantDisabled"}, [("Normal", "TenantDisabled")]),
        ({"Accepted": "False/SecretConflict"}, {"Accepted": "False/TenantNotFound"}, []),
        ({}, {"LimitReached": "False/NoLimits"}, []),
        (
            {"LimitReached": "False/BelowLimits"},
            {"LimitReached": "True/MeetingLimitReached"},
            [("Warning", "MeetingLimitReached")],
        ),
        ({"LimitReached": "True/MeetingLimitReached"}, {"LimitReached": "True/AttendeeLimitReached"}, []),
        (
            {"LimitReached": "True/MeetingLimitReached"},
            {"LimitReached": "False/BelowLimits"},
            [("Normal", "BelowLimits")],
        ),
        ({}, {"Drained": "Unknown/Pending"}, []),
        ({"Drained": "Unknown/Pending"}, {"Drained": "True/NoMeetings"}, [("Normal", "NoMeetings")]),
        (
            {"Drained": "False/MeetingsRunning"},
            {"Drained": "False/DeadlineExceeded"},
            [("Warning", "DeadlineExceeded")],
        ),
        ({}, {"LoadReported": "False/NotFound"}, []),
    ],
)
def test_transitions(old: dict[str, str], new: dict[str, str], expected: list[tuple[str, str]]) -> None:
    found = [(happening.type, happening.reason) for happening in happenings(status(**old), status(**new))]
    assert found == expected


@pytest.mark.parametrize("value", ["True/Responding", "False/Timeout", "Unknown/Stale"])
def test_a_status_that_stays_tells_nothing(value: str) -> None:
    assert list(happenings(status(Ready=value), status(Ready=value))) == []


def test_an_event_names_the_object_and_comes_out_the_same_again() -> None:
    manifest = node_manifest(metadata={"resourceVersion": "42"})
    happening = next(happenings({}, status(Ready="False/Timeout")))
    event = build_event(happening, kind=NODE, manifest=manifest, instance="pod-1", now=NOW)
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "farm", "name": "one.42.ready"},
        "eventTime": "2026-03-01T12:00:00.000000Z",
        "type": "Warning",
        "reason": "Timeout",
        "note": "why Timeout",
        "action": "ReadyChanged",
        "reportingController": "b3lb-operator",
        "reportingInstance": "pod-1",
        "regarding": {
            "apiVersion": "b3lb.io/v1alpha1",
            "kind": "BBBNode",
            "namespace": "farm",
            "name": "one",
            "uid": "bbbnodes-one",
            "resourceVersion": "42",
        },
    }


def test_long_names_and_notes_are_cut_to_what_kubernetes_takes() -> None:
    manifest = node_manifest("n" * 253)
    old = status(Ready="False/Timeout")
    old["conditions"][0]["message"] = "ä" * 1024
    event = build_event(next(happenings({}, old)), kind=NODE, manifest=manifest, instance="i" * 300, now=NOW)
    assert len(event["metadata"]["name"]) <= 253
    assert len(event["note"].encode()) <= 1024
    assert len(event["reportingInstance"]) <= 128


async def test_the_recorder_goes_on_after_an_event_that_could_not_be_sent() -> None:
    kube = FakeKube()
    both = asyncio.Event()

    def refuse_the_first(_method: str, _path: str) -> Exception | None:
        if len(kube.requests) == 1:
            return ForbiddenError("no")
        both.set()
        return None

    kube.failure = refuse_the_first
    recorder = EventRecorder(kube, instance="pod-1")
    with structlog.testing.capture_logs() as logs:
        for version in ("1", "2"):
            manifest = node_manifest(metadata={"resourceVersion": version}, status=status(Ready="True/Responding"))
            recorder.record(NODE, manifest, {})
        task = asyncio.create_task(recorder.run())
        await both.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [line["event"] for line in logs] == ["event not sent"]
    assert [body["metadata"]["name"] for _, _, body in kube.writes] == ["one.1.ready", "one.2.ready"]
