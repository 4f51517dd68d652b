"""How callbacks are sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from b3lb.callbacks.delivery import CallbackClient, Message, check_url, is_allowed
from b3lb.callbacks.outbox import CallbackReason
from b3lb.callbacks.signing import recording_ready_form
from b3lb.health import Reason

SECRET = "0123456789abcdef0123456789abcdef"
FORM = recording_ready_form(meeting_id="room", record_id="r-1", secret=SECRET)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    """A front end on the loopback interface that answers as its test says and notes what it got."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.answer: Handler = self.accepted
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/ready"))

    async def accepted(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.requests.append((f"{request.method} {request.raw_path}", request.content_type, form))
        return await self.answer(request)


def answering(status: int, **headers: str) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    async with found.server:
        yield found


@pytest.fixture
async def client() -> AsyncIterator[CallbackClient]:
    async with CallbackClient(allow_local=True) as opened:
        yield opened


async def test_the_form_arrives_as_bigbluebutton_sends_it(receiver: Receiver, client: CallbackClient) -> None:
    attempt = await client.send(Message(f"{receiver.url}?room=a%20b&x=%2B", FORM))
    assert attempt.delivered
    ((line, kind, form),) = receiver.requests
    assert (line, kind) == ("POST /ready?room=a%20b&x=%2B", "application/x-www-form-urlencoded")
    claims = jwt.decode(form["signed_parameters"], SECRET, algorithms=["HS256"])
    assert claims == {"meeting_id": "room", "record_id": "r-1"}


async def test_a_redirect_is_not_followed(receiver: Receiver, client: CallbackClient) -> None:
    receiver.answer = answering(302, Location=receiver.url)
    attempt = await client.send(Message(receiver.url, FORM))
    assert (attempt.status_code, attempt.reason) == (302, CallbackReason.HTTP_STATUS)
    assert len(receiver.requests) == 1


async def test_the_pause_that_a_receiver_asks_for_is_heard(receiver: Receiver, client: CallbackClient) -> None:
    receiver.answer = answering(503, Retry_After="120")
    assert (await client.send(Message(receiver.url, FORM))).retry_after == 120
    receiver.answer = answering(503, Retry_After="Fri, 31 Dec 1999 23:59:59 GMT")
    assert (await client.send(Message(receiver.url, FORM))).retry_after is None
    receiver.answer = answering(503, Retry_After="9" * 400)
    assert (await client.send(Message(receiver.url, FORM))).retry_after is None


async def test_a_receiver_that_hangs_costs_bounded_time(receiver: Receiver) -> None:
    async def hang(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    receiver.answer = hang
    async with CallbackClient(seconds=0.5, allow_local=True) as client:
        attempt = await client.send(Message(receiver.url, FORM))
    assert (attempt.status_code, attempt.reason, attempt.message) == (None, Reason.TIMEOUT, "no answer within 0.5 s")


async def test_a_body_without_end_is_not_read(receiver: Receiver, client: CallbackClient) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    receiver.answer = endless
    assert (await client.send(Message(receiver.url, FORM))).delivered


async def test_a_port_where_nobody_listens_is_a_reason(unused_tcp_port: int, client: CallbackClient) -> None:
    attempt = await client.send(Message(f"http://127.0.0.1:{unused_tcp_port}/", FORM))
    assert attempt.reason == Reason.REFUSED


@pytest.mark.parametrize(
    "url", ["", "ftp://example.com/", "http://", "//host/x", "http://[", "javascript:1", "http://x/" + "a" * 3000]
)
async def test_what_is_no_url_is_not_called(url: str, client: CallbackClient) -> None:
    assert check_url(url) is None
    assert (await client.send(Message(url, FORM))).reason == CallbackReason.INVALID_URL


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"])  # noqa: S104 - an address to be refused
async def test_a_callback_never_reaches_this_machine(host: str, receiver: Receiver) -> None:
    async with CallbackClient() as client:
        attempt = await client.send(Message(f"http://{host}:{receiver.server.port}/", FORM))
    assert attempt.reason == CallbackReason.FORBIDDEN_ADDRESS
    assert receiver.requests == []


def test_addresses_of_this_machine_of_metadata_services_and_of_groups_are_forbidden() -> None:
    forbidden = ["127.8.8.8", "::1", "169.254.169.254", "fe80::1%eth0", "224.0.0.1", "ff02::1", "::", "0.0.0.0"]  # noqa: S104 - to be refused
    assert not any(is_allowed(address) for address in [*forbidden, "::ffff:169.254.169.254", "nonsense", ""])
    assert all(is_allowed(address) for address in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1"])


def test_neither_signature_nor_secret_shows_in_a_message() -> None:
    message = Message("https://example.com/", FORM)
    assert FORM["signed_parameters"] not in repr(message)
