"""What a request for a video is answered."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.recordings.links import LinkProblem
from b3lb.recordings.playback import (
    PlaybackRequest,
    Video,
    content_disposition,
    playback_answer,
    presigned_for,
    storage_file_name,
)
from b3lb.recordings.ranges import ByteRange
from b3lb.storage.interface import check_key

VIDEO = Video(
    key="sets/1/video.mp4",
    size=1000,
    sha256="ab" * 32,
    content_type="video/mp4",
    finished_at=datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC),
    name="Algebra",
    duration=timedelta(hours=3),
)
MODIFIED = "Sun, 01 Mar 2026 12:00:00 GMT"


def asking(method: str = "GET", **headers: str) -> PlaybackRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return PlaybackRequest(method=method, headers=named)


def test_the_whole_video_is_sent_with_all_that_a_player_needs() -> None:
    answer = playback_answer(asking(), VIDEO)
    assert (answer.status, answer.body) == (200, ByteRange(0, 999))
    assert answer.headers == {
        "Accept-Ranges": "bytes",
        "ETag": f'"{VIDEO.sha256}"',
        "Last-Modified": MODIFIED,
        "Cache-Control": "private, max-age=3600",
        "Content-Type": "video/mp4",
        "Content-Disposition": 'inline; filename="Algebra.mp4"',
        "Content-Length": "1000",
        "X-Content-Type-Options": "nosniff",
    }


def test_a_part_is_sent_with_its_place() -> None:
    answer = playback_answer(asking(range="bytes=100-199"), VIDEO)
    assert (answer.status, answer.body) == (206, ByteRange(100, 199))
    assert answer.headers["Content-Range"] == "bytes 100-199/1000"
    assert answer.headers["Content-Length"] == "100"


def test_a_part_beyond_the_end_is_refused_with_the_size() -> None:
    answer = playback_answer(asking(range="bytes=1000-"), VIDEO)
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (416, None, "bytes */1000")


@pytest.mark.parametrize(
    ("condition", "status"), [(VIDEO.etag, 206), (MODIFIED, 206), ('"other"', 200), (f"W/{VIDEO.etag}", 200)]
)
def test_a_part_of_another_version_is_not_mixed_in(condition: str, status: int) -> None:
    assert playback_answer(asking(range="bytes=0-1", if_range=condition), VIDEO).status == status


@pytest.mark.parametrize(
    "headers",
    [
        {"if_none_match": VIDEO.etag},
        {"if_none_match": f'"x", W/{VIDEO.etag}'},
        {"if_none_match": "*"},
        {"if_modified_since": MODIFIED},
    ],
)
def test_who_has_it_gets_no_second_copy(headers: dict[str, str]) -> None:
    answer = playback_answer(asking(**headers), VIDEO)
    assert (answer.status, answer.body, answer.text) == (304, None, "")
    assert answer.headers["ETag"] == VIDEO.etag


def test_the_validator_goes_before_the_date() -> None:
    assert playback_answer(asking(if_none_match='"other"', if_modified_since=MODIFIED), VIDEO).status == 200


def test_head_is_answered_as_get_without_a_body_and_without_ranges() -> None:
    answer = playback_answer(asking("HEAD", range="bytes=0-1"), VIDEO, presign=lambda *_: "https://s3.example/x")
    assert (answer.status, answer.body) == (200, None)
    assert answer.headers["Content-Length"] == "1000"


headers_of_anyone = st.dictionaries(
    st.sampled_from(["range", "if-range", "if-none-match", "if-modified-since"]),
    st.sampled_from([VIDEO.etag, MODIFIED, "*", "", "bytes=0-0", "bytes=1000-", "bytes=-1001", "bytes=0-1,5-"])
    | st.text(max_size=30),
)


@given(headers_of_anyone, st.sampled_from(["GET", "HEAD"]))
def test_whatever_is_asked_the_length_that_is_told_is_that_of_what_is_sent(
    headers: dict[str, str], method: str
) -> None:
    answer = playback_answer(PlaybackRequest(method=method, headers=headers), VIDEO)
    assert answer.status in {200, 206, 304, 416}
    assert all(value.isascii() and value.isprintable() for value in answer.headers.values())
    if answer.body is not None:
        assert answer.headers["Content-Length"] == str(answer.body.length)
        assert (answer.status == 206) == ("Content-Range" in answer.headers)
    assert (answer.body is not None) == (method == "GET" and answer.status in {200, 206})


def test_storage_that_can_serves_the_video_itself() -> None:
    asked: list[tuple[str, int, str | None]] = []

    def presign(key: str, seconds: int, file_name: str | None) -> str:
        asked.append((key, seconds, file_name))
        return "https://s3.example/sets/1/video.mp4?X-Amz-Signature=0"

    answer = playback_answer(asking(range="bytes=0-1"), VIDEO, presign=presign)
    assert (answer.status, answer.body) == (302, None)
    assert answer.headers == {
        "Location": "https://s3.example/sets/1/video.mp4?X-Amz-Signature=0",
        "Cache-Control": "no-store",
    }
    playback_answer(replace(asking(), download=True), replace(VIDEO, name="Ärger & Co"), presign=presign)
    assert asked == [("sets/1/video.mp4", 6 * 3600, None), ("sets/1/video.mp4", 6 * 3600, "_rger_Co.mp4")]


def test_a_presigned_url_lasts_as_long_as_somebody_may_watch_and_never_longer_than_s3_allows() -> None:
    assert presigned_for(replace(VIDEO, duration=None)) == timedelta(hours=1)
    assert presigned_for(replace(VIDEO, duration=timedelta(days=30))) == timedelta(days=7)


@pytest.mark.parametrize(
    ("request_", "video", "problem", "status"),
    [
        (asking("POST"), VIDEO, None, 405),
        (asking(), None, None, 404),
        (asking(), None, LinkProblem.EXPIRED, 403),
        (asking(), VIDEO, LinkProblem.EXPIRED, 403),
        (asking("HEAD"), VIDEO, LinkProblem.UNSIGNED, 403),
    ],
)
def test_a_refusal_has_a_reason_shows_nothing_and_is_not_kept(
    request_: PlaybackRequest, video: Video | None, problem: LinkProblem | None, status: int
) -> None:
    answer = playback_answer(request_, video, problem=problem, presign=lambda *_: "https://s3.example/x")
    assert (answer.status, answer.body) == (status, None)
    assert answer.text.strip()
    assert "Location" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ärger", "inline; filename=\"_rger.mp4\"; filename*=UTF-8''%C3%84rger.mp4"),
        ('a"/\\b', 'inline; filename="a___b.mp4"'),
        ("x\r\nSet-Cookie: a=b", 'inline; filename="x__Set-Cookie: a=b.mp4"'),
        (" .. ", 'inline; filename="recording.mp4"'),
    ],
)
def test_a_meetings_name_becomes_a_file_name_and_nothing_else(name: str, expected: str) -> None:
    assert content_disposition(replace(VIDEO, name=name), download=False) == expected


def test_the_suffix_follows_the_container() -> None:
    webm = replace(VIDEO, content_type="video/webm")
    assert content_disposition(webm, download=True) == 'attachment; filename="Algebra.webm"'


@given(st.text(max_size=200))
def test_no_name_breaks_the_header(name: str) -> None:
    header = content_disposition(replace(VIDEO, name=name), download=False)
    assert header.isascii()
    assert header.isprintable()
    assert header.split("; filename*=")[0].count('"') == 2


@given(st.text(max_size=300))
def test_any_name_is_one_that_a_storage_takes(name: str) -> None:
    check_key(storage_file_name(replace(VIDEO, name=name)))


def test_an_empty_video_has_no_bytes_to_send() -> None:
    answer = playback_answer(asking(), replace(VIDEO, size=0))
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, None, "0")
