"""Names that do not resolve, that resolve late, and what they do to the polls of other nodes."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest

from b3lb.bbb.client import NodeClient
from b3lb.health import LoadReason, Reason
from tests.integration.bbb_servers import ONE, FakeNode, http, running, sends

pytestmark = pytest.mark.integration

TYPE_A, TYPE_AAAA = 1, 28
RCODES = {"nodata": 0, "servfail": 2, "nxdomain": 3, "refused": 5}


class NameServer(asyncio.DatagramProtocol):
    """A DNS server (RFC 1035) for which the first label of a name says what becomes of it."""

    def __init__(self) -> None:
        self.queries: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance of that class on Python 3.11.
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        labels = []
        position = 12
        while data[position]:
            labels.append(data[position + 1 : position + 1 + data[position]].decode())
            position += 1 + data[position]
        (kind,) = struct.unpack("!H", data[position + 1 : position + 3])
        question = data[12 : position + 5]
        self.queries.append(".".join(labels))
        rule = labels[0].split("-")[0]
        if rule == "hang" or (rule == "halfhang" and kind == TYPE_AAAA):
            return
        answers = b""
        if rule in {"good", "halfhang"} and kind == TYPE_A:
            answers = struct.pack("!HHHIH", 0xC00C, TYPE_A, 1, 60, 4) + socket.inet_aton("127.0.0.1")
        header = data[:2] + struct.pack("!HHHHH", 0x8180 | RCODES.get(rule, 0), 1, bool(answers), 0, 0)
        self.transport.sendto(header + question + answers, address)


@asynccontextmanager
async def name_server() -> AsyncIterator[tuple[NameServer, str]]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", 0)
    )
    try:
        yield server, "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])
    finally:
        transport.close()
        await asyncio.sleep(0)


async def test_a_name_is_looked_up_and_polled() -> None:
    node = FakeNode(sends(http(ONE)))
    async with name_server() as (server, address), running(node), NodeClient(nameservers=[address]) as client:
        observation = (await client.observe(node.target(host="good-1.bbb.test"))).observation
    assert observation.succeeded
    assert "good-1.bbb.test" in server.queries
    assert f"Host: good-1.bbb.test:{node.port}" in node.requests[0]


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("nxdomain.bbb.test", "name not found: nxdomain.bbb.test"),
        ("nodata.bbb.test", "name has no address: nodata.bbb.test"),
        ("servfail.bbb.test", "name server failed (SERVFAIL): servfail.bbb.test"),
        ("refused.bbb.test", "name server refused the query: refused.bbb.test"),
        (f"{'x' * 64}.bbb.test", f"not a valid name: {'x' * 64}.bbb.test"),
        ("a..b.test", "not a valid name: a..b.test"),
    ],
)
async def test_a_name_that_does_not_resolve_is_a_matter_of_dns(host: str, message: str) -> None:
    async with name_server() as (_, address), NodeClient(nameservers=[address]) as client:
        observation = (await client.observe(FakeNode(sends(), port=80).target(host=host))).observation
    assert (observation.reason, observation.message) == (Reason.DNS, message)
    assert (observation.load.reason, observation.load.message) == (LoadReason.UNREACHABLE, message)


async def test_a_lookup_that_hangs_ends_with_the_budget() -> None:
    async with name_server() as (_, address), NodeClient(nameservers=[address]) as client:
        target = FakeNode(sends(), port=80).target(host="hang.bbb.test", timeout=0.4)
        observation = (await client.observe(target)).observation
    assert observation.reason is Reason.DNS
    assert observation.message == "name servers do not answer within 0.4 s: hang.bbb.test"
    assert observation.seconds == pytest.approx(0.4, abs=0.2)


async def test_a_lookup_ends_within_the_default_budget_also_when_nobody_awaits_it() -> None:
    async with name_server() as (server, address), NodeClient(nameservers=[address]) as client:
        target = FakeNode(sends(), port=80).target(host="hang.bbb.test", timeout=5)
        observation = (await client.observe(target)).observation
        assert observation.message == "name servers do not answer: hang.bbb.test"
        assert observation.seconds < 4
        assert server.queries.count("hang.bbb.test") >= 2
        await client.observe(replace(target, timeout_seconds=0.1))
        assert client._resolver.is_pending("hang.bbb.test")


async def test_without_a_name_server_the_reason_is_dns() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with NodeClient(nameservers=[address]) as client:
        observation = (await client.observe(FakeNode(sends(), port=80).target(host="bbb1.test"))).observation
    assert observation.reason is Reason.DNS


async def test_an_address_is_used_when_the_other_family_does_not_answer() -> None:
    node = FakeNode(sends(http(ONE)))
    async with name_server() as (_, address), running(node), NodeClient(nameservers=[address]) as client:
        observation = (await client.observe(node.target(host="halfhang.bbb.test", timeout=5))).observation
    assert observation.succeeded


async def test_names_that_hang_do_not_keep_others_from_being_polled() -> None:
    node = FakeNode(sends(http(ONE)))
    async with name_server() as (_, address), running(node), NodeClient(nameservers=[address]) as client:
        hanging = [node.target(host=f"hang-{number}.bbb.test", timeout=2) for number in range(60)]
        good = [node.target(host=f"good-{number}.bbb.test", timeout=2) for number in range(90)]
        begun = time.monotonic()
        waiting = [asyncio.create_task(client.observe(target)) for target in hanging]
        observations = [poll.observation for poll in await asyncio.gather(*map(client.observe, good))]
        assert time.monotonic() - begun < 1.5
        assert all(observation.succeeded for observation in observations)
        assert {poll.observation.reason for poll in await asyncio.gather(*waiting)} == {Reason.DNS}
    assert time.monotonic() - begun < 4
