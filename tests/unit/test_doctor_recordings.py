"""What the doctor says of recordings: nothing where nobody wants any, else what keeps them from being rendered."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from b3lb.findings import Finding
from b3lb.resources import BBBQueueSpec
from b3lb_operator.doctor.queues import QueueState
from b3lb_operator.doctor.recordings import FrontEnd, RecordingFacts, ask_front_end, check_recordings
from b3lb_operator.kinds import Manifest
from b3lb_operator.resolve import parse_spec
from tests.unit.operator_fakes import cluster_manifest, queue_manifest


def cluster(reason: str = "", **spec: Any) -> Manifest:
    manifest = cluster_manifest()
    condition = {"type": "Ready", "status": "True" if not reason else "False", "reason": reason, "message": "why"}
    return {**manifest, "spec": {**manifest["spec"], **spec}, "status": {"conditions": [condition]}}


TAKING = cluster(uploadSecretRef={"name": "uploads", "key": "nonce"})


def queue(**spec: Any) -> QueueState:
    manifest = queue_manifest("record", **{"schedule": None, "tasks": ["render-record"], **spec})
    parsed = parse_spec(BBBQueueSpec, manifest)
    return QueueState(manifest=manifest, spec=parsed, cron_job=None, sample=None)


def profile(name: str, *, default: bool) -> Manifest:
    return {"metadata": {"namespace": "farm", "name": name}, "spec": {"default": default}}


def examined(**facts: Any) -> dict[str, Finding]:
    whole: dict[str, Any] = {
        "namespace": "farm",
        "clusters": [TAKING],
        "queues": [queue()],
        "profiles": [profile("full-hd", default=True)],
        "storage": True,
        "front_end": FrontEnd(),
        **facts,
    }
    return {finding.check: finding for finding in check_recordings(RecordingFacts(**whole))}


def test_a_farm_that_takes_recordings_and_has_all_they_need_is_well() -> None:
    found = examined()
    assert {finding.status for finding in found.values()} == {"ok"}
    assert len(found) == 5
    assert (
        found["RecordingProfiles"].message == "recordings are rendered with full-hd, where their secret names no others"
    )


def test_a_farm_that_wants_no_recordings_needs_nothing() -> None:
    found = examined(clusters=[cluster()], queues=[], profiles=[], storage=False, front_end=None)
    assert {name: finding.status for name, finding in found.items()} == {"RecordingUploads": "ok"}


def test_a_farm_that_has_recordings_needs_what_renders_them() -> None:
    found = examined(clusters=[cluster()], queues=[], known=3)
    assert found["RecordingQueue"].status == "failed"


@pytest.mark.parametrize(
    ("facts", "check", "status", "words"),
    [
        (
            {"clusters": [cluster("UploadSecretNotFound", uploadSecretRef={"name": "uploads"})]},
            "RecordingUploads",
            "failed",
            "UploadSecretNotFound: why",
        ),
        ({"queues": []}, "RecordingQueue", "failed", "no BBBQueue has the task render-record"),
        ({"queues": [queue(suspend=True)]}, "RecordingQueue", "warning", "suspended"),
        ({"profiles": []}, "RecordingProfiles", "failed", "NoProfile"),
        ({"profiles": [profile("a", default=False)]}, "RecordingProfiles", "ok", "with all of them"),
        ({"storage": False}, "RecordingStorage", "failed", "no storage"),
        ({"front_end": None}, "RecordingFrontEnd", "unknown", "not known"),
        (
            {"front_end": FrontEnd("the storage belongs to installation X")},
            "RecordingFrontEnd",
            "failed",
            "installation X",
        ),
    ],
)
def test_each_fault_has_its_line_and_says_what_to_do(
    facts: dict[str, Any], check: str, status: str, words: str
) -> None:
    finding = examined(**facts)[check]
    assert (finding.status, words in finding.message) == (status, True)
    assert bool(finding.remedy) is (status != "ok")


def test_a_cluster_that_is_not_ready_for_another_reason_may_push_all_the_same() -> None:
    found = examined(clusters=[cluster("InvalidCertificates", uploadSecretRef={"name": "uploads"})])
    assert found["RecordingUploads"].status == "ok"


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, "ok\n", ""),
        (503, "the storage belongs to\x1b another\n", "the storage belongs to another"),
        (503, "", "it answers 503"),
        (302, "", "it answers 302"),
        (500, "x" * 100_000, "x" * 300),
    ],
)
async def test_the_front_end_s_own_words_are_told_in_one_line(status: int, body: str, problem: str) -> None:
    async def ready(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers={"Location": "/elsewhere"} if status == 302 else None)

    app = web.Application()
    app.router.add_get("/readyz", ready)
    async with TestServer(app) as server:
        assert (await ask_front_end(str(server.make_url("/readyz")))).problem == problem


async def test_a_front_end_that_is_away_is_told() -> None:
    assert (await ask_front_end("http://127.0.0.1:9/readyz")).problem.startswith("it cannot be reached: ")
    assert (await ask_front_end("no address")).problem.startswith("it cannot be reached: ")
