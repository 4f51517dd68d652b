"""A simulated node answers over HTTP as a BBB node does, and misbehaves exactly as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import pytest
from lxml import etree
from yarl import URL

from dev.farm.checksum import ALGORITHMS, signed_url
from dev.farm.counters import RequestCounter
from dev.farm.messages import Behaviour
from dev.farm.schema import check_get_meeting_info, check_get_meetings
from dev.farm.server import NodeServer
from dev.farm.world import World

SECRET: Final = "the-secret"
LONG: Final = 60.0


@asynccontextmanager
async def running_node() -> AsyncIterator[tuple[NodeServer, aiohttp.ClientSession]]:
    node = World(seed=3, nodes=1, meetings=4, attendees=3).nodes["node-001"]
    server = NodeServer(node, secret=SECRET, algorithms=ALGORITHMS, counter=RequestCounter())
    await server.start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            yield server, session
    finally:
        await server.close()


async def get(session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    async with session.get(URL(url, encoded=True), allow_redirects=False) as response:
        return response.status, await response.read()


def list_url(server: NodeServer, *, secret: str = SECRET, algorithm: str = "sha256") -> str:
    return signed_url(server.api_url, "getMeetings", secret=secret, algorithm=algorithm)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("the condition did not come true")


def text(body: bytes, path: str) -> str | None:
    return etree.fromstring(body).findtext(path)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_signed_request_is_answered(algorithm: str) -> None:
    async with running_node() as (server, session):
        async with session.get(URL(list_url(server, algorithm=algorithm), encoded=True)) as response:
            root = check_get_meetings(await response.read())
            assert (response.status, response.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
        assert [element.text for element in root.findall("meetings/meeting/meetingID")] == list(server.node.meetings)


async def test_an_algorithm_that_is_not_allowed_is_a_checksum_error() -> None:
    async with running_node() as (server, session):
        server.algorithms = frozenset({"sha512"})
        status, body = await get(session, list_url(server, algorithm="sha1"))
        assert (status, text(body, "returncode"), text(body, "messageKey")) == (200, "FAILED", "checksumError")
        assert text((await get(session, list_url(server, algorithm="sha512")))[1], "returncode") == "SUCCESS"


async def test_a_wrong_secret_is_a_checksum_error_with_status_200() -> None:
    async with running_node() as (server, session):
        for url in (list_url(server, secret="other"), f"{server.api_url}/getMeetings"):
            status, body = await get(session, url)
            check_get_meetings(body)
            assert (status, text(body, "messageKey")) == (200, "checksumError")


async def test_a_meeting_is_found_by_its_id_as_it_was_sent() -> None:
    """The checksum covers the raw query, the ID is the decoded one."""
    async with running_node() as (server, session):
        world = World(nodes=1, meetings=0)
        meeting = world.begin(server.node, meeting_id="ä b&c<d>", attendees=2)
        for query in ("meetingID=%c3%a4+b%26c%3Cd%3e", "x=1&meetingID=%C3%A4%20b%26c%3cd%3E"):
            url = signed_url(server.api_url, "getMeetingInfo", query, secret=SECRET)
            root = check_get_meeting_info((await get(session, url))[1])
            assert root.findtext("internalMeetingID") == meeting.internal_id
            url = signed_url(server.api_url, "isMeetingRunning", query, secret=SECRET)
            assert text((await get(session, url))[1], "running") == "true"


async def test_unknown_meetings_and_calls_fail_with_bbbs_keys() -> None:
    async with running_node() as (server, session):
        for call, query, key in (
            ("getMeetingInfo", "meetingID=none", "notFound"),
            ("getMeetingInfo", "", "missingParamMeetingID"),
            ("getRecordings", "", "unsupportedRequest"),
        ):
            status, body = await get(session, signed_url(server.api_url, call, query, secret=SECRET))
            assert (status, text(body, "messageKey")) == (200, key)
        url = signed_url(server.api_url, "isMeetingRunning", "meetingID=none", secret=SECRET)
        assert text((await get(session, url))[1], "running") == "false"


async def test_the_index_needs_no_checksum() -> None:
    async with running_node() as (server, session):
        for url in (server.api_url, f"{server.api_url}/", f"{server.api_url}/index"):
            assert text((await get(session, url))[1], "version") == "2.0"


async def test_the_load_page_has_the_load_on_its_first_line() -> None:
    async with running_node() as (server, session):
        status, body = await get(session, server.load_url)
        assert (status, int(body.splitlines()[0])) == (200, server.node.load)


async def test_another_path_is_not_found_and_another_method_not_allowed() -> None:
    async with running_node() as (server, session):
        assert (await get(session, f"{server.origin}/elsewhere"))[0] == 404
        async with session.post(server.load_url) as response:
            assert response.status == 405


@pytest.mark.parametrize(
    ("behaviour", "first_line"), [("load-text", None), ("load-negative", -1), ("load-too-high", 10_001)]
)
async def test_a_bad_load_concerns_the_load_page_only(behaviour: str, first_line: int | None) -> None:
    async with running_node() as (server, session):
        await server.set_behaviour(Behaviour(behaviour), 1)
        body = (await get(session, server.load_url))[1].decode().splitlines()[0]
        assert body.isascii()
        if first_line is None:
            assert not body.lstrip("-").isdigit()
        else:
            assert int(body) == first_line
        check_get_meetings((await get(session, list_url(server)))[1])


async def test_a_missing_load_page_concerns_the_load_page_only() -> None:
    async with running_node() as (server, session):
        await server.set_behaviour(Behaviour.LOAD_404, 1)
        assert (await get(session, server.load_url))[0] == 404
        check_get_meetings((await get(session, list_url(server)))[1])


@pytest.mark.parametrize(("behaviour", "key"), [("wrong-secret", "checksumError"), ("api-error", "internalError")])
async def test_api_failures_concern_the_api_only(behaviour: str, key: str) -> None:
    async with running_node() as (server, session):
        await server.set_behaviour(Behaviour(behaviour), 1)
        status, body = await get(session, list_url(server))
        assert (status, text(body, "returncode"), text(body, "messageKey")) == (200, "FAILED", key)
        assert int((await get(session, server.load_url))[1]) == server.node.load


async def test_invalid_xml_is_not_well_formed() -> None:
    async with running_node() as (server, session):
        await server.set_behaviour(Behaviour.INVALID_XML, 1)
        with pytest.raises(etree.XMLSyntaxError):
            etree.fromstring((await get(session, list_url(server)))[1])


async def test_plain_faults_concern_api_and_load_page() -> None:
    async with running_node() as (server, session):
        for behaviour, status, start in (
            (Behaviour.HTTP_500, 500, b"Internal"),
            (Behaviour.HTML, 200, b"<!DOCTYPE html>"),
            (Behaviour.EMPTY, 200, b""),
            (Behaviour.REDIRECT, 302, b""),
        ):
            await server.set_behaviour(behaviour, 1)
            for url in (list_url(server), server.load_url):
                found, body = await get(session, url)
                assert found == status
                assert body.startswith(start)
                assert bool(body) == bool(start)


async def test_slow_delays_every_answer() -> None:
    async with running_node() as (server, session):
        await server.set_behaviour(Behaviour.SLOW, 0.1)
        loop = asyncio.get_running_loop()
        before = loop.time()
        check_get_meetings((await get(session, list_url(server)))[1])
        assert 0.09 < loop.time() - before < 2


async def test_requests_in_flight_are_counted() -> None:
    async with running_node() as (server, session):
        await server.set_behaviour(Behaviour.SLOW, LONG)
        requests = [asyncio.create_task(get(session, list_url(server))) for _ in range(5)]
        await until(lambda: server.counter.in_flight == 5)
        await server.set_behaviour(Behaviour.OK, 1)
        assert [status for status, _ in await asyncio.gather(*requests)] == [200] * 5
        await get(session, server.load_url)
        await until(lambda: server.counter.in_flight == 0)
        assert server.counter.max_in_flight == 5
        assert server.counter.requests == {"getMeetings": 5, "load": 1}
        server.counter.reset()
        assert (server.counter.max_in_flight, dict(server.counter.requests)) == (0, {})


async def test_hang_never_answers_and_lets_go_when_the_client_does() -> None:
    async with running_node() as (server, session):
        await server.set_behaviour(Behaviour.HANG, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(get(session, list_url(server)), 0.1)
        await until(lambda: server.counter.in_flight == 0)


async def test_hang_drops_the_connection_when_the_behaviour_changes() -> None:
    async with running_node() as (server, session):
        await server.set_behaviour(Behaviour.HANG, 1)
        # Not by the session, which would try again by itself.
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /b3lb/load HTTP/1.1\r\nHost: node\r\n\r\n")
        await until(lambda: server.counter.in_flight == 1)
        await server.set_behaviour(Behaviour.OK, 1)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await writer.wait_closed()
        check_get_meetings((await get(session, list_url(server)))[1])


async def test_refused_closes_port_and_connections_until_it_is_over() -> None:
    """Also a connection that the client has kept open is gone, and the port stays the node's own."""
    async with running_node() as (server, session):
        await get(session, list_url(server))
        port = server.port
        for _ in range(3):
            await server.set_behaviour(Behaviour.REFUSED, 1)
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await get(session, list_url(server))
            assert isinstance(caught.value.os_error, ConnectionRefusedError)
            await server.set_behaviour(Behaviour.REFUSED, 1)
            await server.set_behaviour(Behaviour.OK, 1)
            assert server.port == port
            check_get_meetings((await get(session, list_url(server)))[1])


async def test_drip_sends_byte_by_byte() -> None:
    async with running_node() as (server, session):
        await server.set_behaviour(Behaviour.DRIP, 0.01)
        async with session.get(URL(list_url(server), encoded=True)) as response:
            assert response.status == 200
            started = await response.content.readexactly(5)
            assert started == b"<resp"
            assert response.content.total_bytes < 200
        await server.set_behaviour(Behaviour.DRIP, 0.001)
        server.node.pinned_load = 1234
        assert (await get(session, server.load_url)) == (200, b"1234\n")


async def test_too_large_never_ends() -> None:
    async with running_node() as (server, session):
        await server.set_behaviour(Behaviour.TOO_LARGE, 1)
        for url in (list_url(server), server.load_url):
            async with session.get(URL(url, encoded=True)) as response:
                received = 0
                async for chunk in response.content.iter_any():
                    received += len(chunk)
                    if received > 3_000_000:
                        break
                assert received > 3_000_000
        await until(lambda: server.counter.in_flight == 0)


@pytest.mark.parametrize("behaviour", list(Behaviour))
async def test_every_behaviour_ends_with_ok(behaviour: Behaviour) -> None:
    async with running_node() as (server, session):
        await server.set_behaviour(behaviour, LONG)
        request = asyncio.create_task(get(session, list_url(server)))
        await asyncio.wait([request], timeout=0.05)
        await server.set_behaviour(Behaviour.OK, 1)
        await asyncio.wait([request], timeout=5)
        assert request.done()
        assert request.exception() is None or isinstance(request.exception(), aiohttp.ClientError)
        check_get_meetings((await get(session, list_url(server)))[1])
