"""What one poll makes of a node that answers well, badly, late or not at all."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import hashlib
import socket
import time
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from b3lb.bbb.client import BODY_BYTES, NodeClient, NodeTarget
from b3lb.health import LoadReason, LoadReport, Observation, Reason
from b3lb.meetings.model import Listing
from tests.integration.bbb_servers import (
    EMPTY,
    ONE,
    SECRET,
    Behaviour,
    FakeNode,
    closes,
    drips,
    hangs,
    http,
    running,
    sends,
)

pytestmark = pytest.mark.integration

OK = b"HTTP/1.1 200 OK\r\n"
CHECKSUM = hashlib.sha256(b"getMeetings" + SECRET.encode()).hexdigest()


def refusal(key: str, message: str) -> bytes:
    envelope = f"<returncode>FAILED</returncode><messageKey>{key}</messageKey><message>{message}</message>"
    return f"<response>{envelope}</response>".encode()


async def poll(meetings: Behaviour, load: Behaviour | None = None, *, budget: float = 2.0) -> Observation:
    node = FakeNode(meetings, load or sends(http(b"2500")))
    async with running(node), NodeClient() as client:
        begun = time.monotonic()
        observation = (await client.observe(node.target(timeout=budget))).observation
        assert time.monotonic() - begun < budget + 0.5
    assert observation.seconds < budget + 0.5
    for message in (observation.message, observation.load.message):
        assert SECRET not in message
        assert CHECKSUM not in message
        assert message.isprintable()
    return observation


async def test_a_good_answer_is_counted() -> None:
    observation = await poll(sends(http(ONE)))
    assert (observation.reason, observation.message) == (Reason.RESPONDING, "")
    assert (observation.meetings, observation.attendees) == (1, 3)
    assert observation.load == LoadReport(2500)
    assert observation.succeeded


async def test_the_meetings_come_with_the_observation_and_only_changed_ones_with_details() -> None:
    node = FakeNode(sends(http(ONE)))
    async with running(node), NodeClient() as client:
        first = await client.observe(node.target())
        assert first.listing is not None
        (meeting,) = first.listing.meetings
        assert (meeting.internal_id, meeting.attendees) == ("m-1", 3)
        assert meeting.details is not None
        again = await client.observe(node.target(), {"m-1": meeting.digest})
    assert again.listing == Listing((dataclasses.replace(meeting, details=None),))
    assert dataclasses.replace(again.observation, seconds=0) == dataclasses.replace(first.observation, seconds=0)


@pytest.mark.parametrize(
    ("date", "minutes"),
    [(timedelta(), 0), (timedelta(seconds=1), 0), (timedelta(minutes=7), 7), (timedelta(days=-400), -400 * 1440)],
)
async def test_the_listing_tells_how_far_the_nodes_clock_is_ahead(date: timedelta, minutes: float) -> None:
    header = f"Date: {format_datetime(datetime.now(UTC) + date, usegmt=True)}"
    node = FakeNode(sends(http(ONE, headers=(header,))))
    async with running(node), NodeClient() as client:
        listing = (await client.observe(node.target())).listing
    assert listing is not None
    assert listing.clock_offset / timedelta(minutes=1) == pytest.approx(minutes, abs=0.05)


async def test_the_nodes_clock_is_compared_with_the_clock_that_the_client_is_given() -> None:
    header = f"Date: {format_datetime(datetime.now(UTC), usegmt=True)}"
    node = FakeNode(sends(http(ONE, headers=(header,))))
    async with running(node), NodeClient(now=lambda: datetime.now(UTC) - timedelta(minutes=7)) as client:
        listing = (await client.observe(node.target())).listing
    assert listing is not None
    assert listing.clock_offset / timedelta(minutes=1) == pytest.approx(7, abs=0.05)


@pytest.mark.parametrize("behaviour", [hangs(), closes(), sends(http(ONE[:-20])), sends(http(status="500 x"))])
async def test_there_is_no_listing_without_a_whole_good_answer(behaviour: Behaviour) -> None:
    node = FakeNode(behaviour)
    async with running(node), NodeClient() as client:
        poll = await client.observe(node.target(timeout=0.4))
    assert poll.listing is None
    assert not poll.observation.succeeded


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_answer_is_read(encoding: str) -> None:
    body = gzip.compress(ONE) if encoding == "gzip" else zlib.compress(ONE)
    assert (await poll(sends(http(body, headers=(f"Content-Encoding: {encoding}",))))).attendees == 3


async def test_an_answer_in_chunks_and_one_that_ends_with_the_connection_are_read() -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(ONE[at : at + 50]), ONE[at : at + 50]) for at in range(0, len(ONE), 50))
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert (await poll(sends(chunked[:200], chunked[200:], pause=0.02))).attendees == 3
    assert (await poll(closes(OK + b"\r\n" + ONE))).attendees == 3


@pytest.mark.parametrize(
    ("behaviour", "reason", "message"),
    [
        (sends(http(status="500 Whatever")), Reason.HTTP_STATUS, "HTTP 500 Internal Server Error"),
        (sends(http(status="404 Not Found")), Reason.HTTP_STATUS, "HTTP 404 Not Found"),
        (sends(http(status="204 No Content")), Reason.HTTP_STATUS, "HTTP 204 No Content"),
        (sends(http(status="999 \x1b[31m")), Reason.HTTP_STATUS, "HTTP 999"),
        (
            closes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            Reason.HTTP_STATUS,
            "HTTP 101",
        ),
        (closes(b"SSH-2.0-OpenSSH_9.6\r\n"), Reason.HTTP_STATUS, "not a valid HTTP answer: bad status line"),
        (closes(b"HTTP/1.1 abc\r\n\r\n"), Reason.HTTP_STATUS, "not a valid HTTP answer"),
        (closes(OK + b"no colon\r\n\r\n"), Reason.HTTP_STATUS, "not a valid HTTP answer"),
        (closes(OK + b"Content-Length: -5\r\n\r\n"), Reason.HTTP_STATUS, "not a valid HTTP answer"),
        (sends(OK + b"X: " + b"y" * 200_000), Reason.TOO_LARGE, "the HTTP headers are too large"),
        (drips(b"X-More: y\r\n" * 50, start=OK), Reason.TOO_LARGE, "the HTTP headers are too large"),
        (sends(OK + b"X: y\r\n" * 1000 + b"\r\n"), Reason.TOO_LARGE, "the HTTP headers are too large"),
        (closes(), Reason.DISCONNECTED, "connection closed before an answer"),
        (closes(reset=True), Reason.DISCONNECTED, "connection closed before an answer"),
        (closes(OK + b"X-A: b\r\n"), Reason.DISCONNECTED, "connection closed before an answer"),
        (closes(http(ONE)[:-20]), Reason.DISCONNECTED, "connection closed before the end of the answer"),
        (closes(http(ONE)[:-20], reset=True), Reason.DISCONNECTED, "connection closed before the end of the answer"),
        (
            closes(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n<resp\r\n"),
            Reason.DISCONNECTED,
            "connection closed before the end of the answer",
        ),
        (sends(http(b"")), Reason.INVALID_XML, "the answer is empty"),
        (sends(http(ONE[:-20])), Reason.INVALID_XML, "the answer ends too early"),
        (sends(http(b"<!DOCTYPE html><html></html>")), Reason.INVALID_XML, "an HTML page"),
        (sends(http(b"<!DOCTYPE response>" + ONE)), Reason.INVALID_XML, "a document type declaration is not accepted"),
        (sends(http(b"abcdefgh", headers=("Content-Encoding: gzip",))), Reason.INVALID_XML, "cannot be decoded"),
        (sends(http(b"abcdefgh", headers=("Content-Encoding: br",))), Reason.INVALID_XML, "cannot be decoded"),
        (sends(http(gzip.compress(ONE)[:-30], headers=("Content-Encoding: gzip",))), Reason.INVALID_XML, "too early"),
        (
            sends(http(refusal("checksumError", "You did not pass the checksum security check"))),
            Reason.CHECKSUM_ERROR,
            "the node refuses the checksum: is the secret right?",
        ),
        (
            sends(http(refusal("odd", f"your secret {SECRET} and ?checksum={CHECKSUM}"))),
            Reason.API_ERROR,
            "odd: your secret [redacted] and ?checksum=[redacted]",
        ),
    ],
)
async def test_each_failure_has_its_reason(behaviour: Behaviour, reason: Reason, message: str) -> None:
    observation = await poll(behaviour)
    assert observation.reason is reason
    assert message in observation.message
    assert (observation.meetings, observation.attendees) == (0, 0)
    assert observation.load == LoadReport(2500)


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
async def test_redirects_are_not_followed(status: str) -> None:
    elsewhere = FakeNode(sends(http(ONE)))
    async with running(elsewhere):
        location = f"Location: http://127.0.0.1:{elsewhere.port}/bigbluebutton/api/getMeetings?checksum={CHECKSUM}"
        observation = await poll(sends(http(status=status, headers=(location,))))
    assert observation.reason is Reason.HTTP_STATUS
    assert observation.message == f"HTTP {status} to http://127.0.0.1:{elsewhere.port}, redirects are not followed"
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (hangs(), "no answer within 0.4 s, connected"),
        (hangs(OK), "no answer within 0.4 s, connected"),
        (drips(b"HTTP/1.1 100 Continue\r\n\r\n"), "no answer within 0.4 s, connected"),
        (drips(b"X", start=OK + b"X: "), "no answer within 0.4 s, connected"),
        (hangs(http(ONE)[:-20]), "the answer did not end within 0.4 s"),
        (drips(b" ", start=OK + b"\r\n<response>"), "the answer did not end within 0.4 s"),
        (drips(b"1\r\n \r\n", start=OK + b"Transfer-Encoding: chunked\r\n\r\n"), "the answer did not end within 0.4 s"),
    ],
)
async def test_a_slow_node_ends_with_the_budget(behaviour: Behaviour, message: str) -> None:
    observation = await poll(behaviour, budget=0.4)
    assert (observation.reason, observation.message) == (Reason.TIMEOUT, message)
    assert observation.seconds == pytest.approx(0.4, abs=0.2)


async def test_a_refused_connection_names_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        node = FakeNode(hangs(), port=free.getsockname()[1])
        async with NodeClient() as client:
            observation = (await client.observe(node.target())).observation
    assert (observation.reason, observation.message) == (Reason.REFUSED, f"connection refused by 127.0.0.1:{node.port}")
    assert observation.load.reason is LoadReason.UNREACHABLE
    assert observation.load.message == observation.message


@pytest.mark.parametrize(
    "url",
    ["", "bbb1.example.org", "ftp://h/x", "http://", "http://[::1", "http://h:99999/", "http:///x", "http://256.1/"],
)
async def test_a_nonsensical_url_is_no_exception(url: str) -> None:
    async with NodeClient() as client:
        observation = (await client.observe(NodeTarget("n", url, url, SECRET, "sha256", None, 1.0))).observation
    assert observation.reason is Reason.UNREACHABLE
    assert observation.message == "not a valid http or https URL"


async def test_a_large_answer_is_given_up_at_the_cap_counted_after_decompression() -> None:
    bomb = gzip.compress(b"<response>" + (b"<a>" + b" " * 10**6 + b"</a>") * 70)
    assert len(bomb) < 100_000
    bombs = [
        sends(http(bomb, headers=("Content-Encoding: gzip",))),
        sends(OK + b"Content-Length: %d\r\n\r\n" % (BODY_BYTES + 1)),
        drips(b"<a>" + b" " * 10**6 + b"</a>", start=OK + b"\r\n<response>", pause=0.0),
    ]
    for behaviour in bombs:
        observation = await poll(behaviour, budget=20)
        assert (observation.reason, observation.message) == (Reason.TOO_LARGE, "the answer is larger than 64 MiB")


async def test_a_gzip_bomb_does_not_hold_up_the_other_nodes() -> None:
    body = gzip.compress(b"<response>" + b"<a/>" * (BODY_BYTES // 4), compresslevel=1)
    bomb = FakeNode(sends(http(body, headers=("Content-Encoding: gzip",))))
    good = FakeNode(sends(http(ONE)))
    seconds = []
    async with running(bomb, good), NodeClient() as client:
        hurt = asyncio.create_task(client.observe(bomb.target(timeout=1)))
        while not hurt.done():
            observation = (await client.observe(good.target())).observation
            assert observation.succeeded
            seconds.append(observation.seconds)
    assert (await hurt).observation.reason in {Reason.TIMEOUT, Reason.TOO_LARGE}
    assert len(seconds) > 3
    assert max(seconds) < 1


@pytest.mark.parametrize(
    ("load", "report"),
    [
        (sends(http(status="404 Not Found")), LoadReport(None, LoadReason.NOT_FOUND, "HTTP 404 Not Found")),
        (sends(http(status="503 x")), LoadReport(None, LoadReason.HTTP_STATUS, "HTTP 503 Service Unavailable")),
        (
            sends(http(status="302 x")),
            LoadReport(None, LoadReason.HTTP_STATUS, "HTTP 302 Found, redirects are not followed"),
        ),
        (sends(http(b"busy")), LoadReport(None, LoadReason.NOT_A_NUMBER, "not a number: 'busy'")),
        (sends(http(b"-5")), LoadReport(None, LoadReason.NEGATIVE, "-5 is below 0")),
        (sends(http(b"10001")), LoadReport(None, LoadReason.TOO_HIGH, "10001 is above 10000")),
        (
            drips(b"1" * 1000, start=OK + b"\r\n", pause=0),
            LoadReport(None, LoadReason.NOT_A_NUMBER, "the answer is longer than 4096 bytes"),
        ),
        (closes(), LoadReport(None, LoadReason.UNREACHABLE, "connection closed before an answer")),
        (hangs(), LoadReport(None, LoadReason.UNREACHABLE, "no answer within 0.5 s, connected")),
        (
            drips(b"1", start=OK + b"\r\n"),
            LoadReport(None, LoadReason.UNREACHABLE, "the answer did not end within 0.5 s"),
        ),
    ],
)
async def test_a_load_that_fails_costs_nothing_but_its_value(load: Behaviour, report: LoadReport) -> None:
    observation = await poll(sends(http(ONE)), load, budget=0.5)
    assert (observation.reason, observation.attendees) == (Reason.RESPONDING, 3)
    assert observation.load == report


async def test_nothing_but_the_signed_request_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    node = FakeNode(sends(http(EMPTY, headers=("Set-Cookie: a=b; Path=/",))))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with running(node), NodeClient() as client:
        for _ in range(3):
            assert (await client.observe(node.target())).observation.succeeded
    first = [head.split("\r\n")[0] for head in node.requests]
    assert set(first) == {f"GET /bigbluebutton/api/getMeetings?checksum={CHECKSUM} HTTP/1.1", "GET /b3lb/load HTTP/1.1"}
    assert not any("cookie" in head.lower() or "authorization" in head.lower() for head in node.requests)


async def test_connections_live_from_tick_to_tick() -> None:
    node = FakeNode(sends(http(EMPTY)), sends(http(b"<html>no load here</html>", status="404 Not Found")))
    async with running(node), NodeClient() as client:
        for _ in range(5):
            assert (await client.observe(node.target())).observation.succeeded
    assert len(node.requests) == 10
    assert node.connections == 2


async def test_a_connection_that_the_node_closed_between_ticks_is_opened_anew() -> None:
    node = FakeNode(closes(http(EMPTY)), closes(http(b"0")))
    async with running(node), NodeClient() as client:
        for _ in range(5):
            assert (await client.observe(node.target())).observation.succeeded


async def test_a_failed_poll_leaves_no_connection_behind() -> None:
    node = FakeNode(drips(b" ", start=OK + b"\r\n<response>"), drips(b"1", start=OK + b"\r\n"))
    async with running(node), NodeClient() as client:
        await client.observe(node.target(timeout=0.2))
        async with asyncio.timeout(5):
            await node.all_closed.wait()


async def test_a_cancelled_poll_ends_at_once_and_frees_its_slot() -> None:
    node, other = FakeNode(hangs(), hangs()), FakeNode(sends(http(EMPTY)))
    async with running(node, other), NodeClient(max_in_flight=1) as client:
        task = asyncio.create_task(client.observe(node.target(timeout=30)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        begun = time.monotonic()
        assert (await client.observe(other.target())).observation.succeeded
        assert time.monotonic() - begun < 0.4
        assert len(asyncio.all_tasks()) < 8


async def test_an_unknown_algorithm_is_the_callers_mistake() -> None:
    async with NodeClient() as client:
        with pytest.raises(ValueError, match="unknown checksum algorithm"):
            await client.observe(NodeTarget("n", "http://h/api", "http://h/load", SECRET, "md5", None, 1.0))


def test_the_secret_is_in_no_representation() -> None:
    assert SECRET not in repr(FakeNode(hangs()).target())
