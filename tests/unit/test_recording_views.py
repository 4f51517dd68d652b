"""Recordings as people and programs are shown them: what is known, in the words of the API, and nothing secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from b3lb.views.recordings import audit_document, callback_document, recording_document, shown_url
from tests.unit.control_desk import Desk
from tests.unit.recording_rows import RECORD_ID, audit_line, callback, delivered, recording, video


def test_a_recording_has_the_progress_of_all_its_videos() -> None:
    document = recording_document(
        recording(video("full-hd"), video("small", state="RENDERED", progress_percent=None, file_bytes=7, attempts=2))
    )
    assert (document["recordID"], document["state"], document["progressPercent"]) == (RECORD_ID, "RENDERING", 70.0)
    assert (document["attempts"], document["videoBytes"], document["durationSeconds"]) == (3, 7, 3600.0)
    assert [item["profile"] for item in document["videos"]] == ["full-hd", "small"]


@pytest.mark.parametrize(
    ("fields", "videos", "percent"),
    [
        ({"state": "UPLOADED"}, (), None),
        ({"state": "RENDERED"}, (), 100.0),
        ({"state": "RENDERING"}, (video(state="PENDING", progress_percent=None),), 0.0),
    ],
)
def test_progress_without_work_under_way(
    fields: dict[str, Any], videos: tuple[Any, ...], percent: float | None
) -> None:
    assert recording_document(recording(*videos, **fields))["progressPercent"] == percent


@pytest.mark.parametrize(
    ("days", "expires"),
    [((14, 0), "2026-11-16T11:00:00+00:00"), ((14, 7), "2026-11-09T11:00:00+00:00"), ((0, 0), None)],
)
def test_it_expires_by_the_smaller_hold_time_from_the_end_of_its_meeting(
    days: tuple[int, int], expires: str | None
) -> None:
    document = recording_document(recording(tenant_days=days[0], secret_days=days[1]))
    assert document["expiresAt"] == expires


def test_an_archive_that_was_deleted_takes_nothing() -> None:
    assert recording_document(recording(archive_key=None))["archiveBytes"] is None


def test_a_callback_shows_where_to_but_no_secret_of_its_address() -> None:
    document = callback_document(callback())
    assert document["url"] == "https://lms.example.org/ready?…"
    assert document["nextAttemptAt"] is not None
    assert callback_document(delivered())["nextAttemptAt"] is None
    assert "geheim" not in json.dumps(document)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@[::1]:8443/a?b=c#d", "https://[::1]:8443/a?…"),
        ("https://lms.example.org/a", "https://lms.example.org/a"),
        ("https://[broken/a?b", "…"),
        ("https://host:99999/", "…"),
    ],
)
def test_addresses_are_shown_without_credentials(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_a_line_of_the_audit_is_shown_as_it_is() -> None:
    document = audit_document(audit_line())
    assert (document["subject"], document["reason"], document["bytes"]) == (RECORD_ID, "PastHold", 1 << 30)


async def test_the_operator_shows_recordings_callbacks_and_the_audit() -> None:
    desk = Desk()
    for path, found, kind in (
        ("/recordings", [recording(video())], "RecordingList"),
        ("/callbacks", [callback()], "CallbackList"),
        ("/audit", [audit_line()], "AuditList"),
    ):
        desk.database.answer = lambda found=found: found  # type: ignore[misc]  # the default binds it now
        status, document = await desk.get(path)
        assert (status, document["kind"], len(document["items"])) == (200, kind, 1)
    desk.database.answer = lambda: [recording(video())]
    assert (await desk.get(f"/recordings/{RECORD_ID}"))[1]["recordID"] == RECORD_ID


async def test_a_list_says_when_there_is_more() -> None:
    desk = Desk()
    desk.database.answer = lambda: [recording(), recording()]
    status, document = await desk.get("/recordings?limit=1")
    assert (status, len(document["items"]), document["truncated"]) == (200, 1, True)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/recordings?state=DONE", 400, "UPLOADED, RENDERING"),
        ("/recordings?limit=1001", 400, "from 1 to 1000"),
        ("/callbacks?state=LOST", 400, "PENDING"),
        ("/recordings?namespace=other", 404, "does not watch"),
        ("/recordings/nothing", 404, "no recording 'nothing'"),
    ],
)
async def test_wrong_questions_are_refused_precisely(path: str, status: int, words: str) -> None:
    desk = Desk()
    desk.database.answer = list
    found, document = await desk.get(path)
    assert (found, words in document["message"]) == (status, True)


async def test_without_a_database_nothing_is_made_up() -> None:
    desk = Desk()
    desk.lose_database()
    assert (await desk.get("/recordings"))[0] == 503
