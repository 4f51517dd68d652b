"""Polls BigBlueButton nodes: one signed getMeetings and one load request each, within one budget of time."""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from types import SimpleNamespace, TracebackType
from typing import Self, TypeVar

import aiohttp
from yarl import URL

from b3lb import __version__
from b3lb.bbb.checksum import signed_url
from b3lb.bbb.clock_offset import clock_offset
from b3lb.bbb.errors import AnswerError
from b3lb.bbb.failures import NOT_A_URL, explain
from b3lb.bbb.load_report import LOAD_BODY_BYTES, read_load
from b3lb.bbb.meetings_xml import MeetingsParser, ParsedMeetings
from b3lb.bbb.resolver import LookupResolver
from b3lb.bbb.slots import Slots
from b3lb.bbb.text import printable, status_text
from b3lb.health import LoadReason, LoadReport, Observation, Reason
from b3lb.meetings.model import Listing

# Of a poll: getMeetings and the load.
REQUESTS = 2
# After this time a poll gives its slot back while it goes on waiting.
SLOT_SECONDS = 0.5
# Of getMeetings, after decompression.
BODY_BYTES = 64 * 2**20
# Longer than the longest tick, so that connections live from tick to tick; nginx closes them after 75 s.
IDLE_CONNECTION_SECONDS = 70
# Other nodes have their turn after so much of one body, however fast it comes: 25 ms for the most tiresome XML, 0.2 s
# if a meeting of the greatest size ends in it.
TURN_BYTES = 2**17

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """What a poll needs to know of a node.

    ``api_url`` is the base of the API, ``load_url`` the whole URL of the load. ``ca_certificates`` is a PEM bundle that
    replaces the system's authorities, None keeps them. ``timeout_seconds`` is the budget of one poll as a whole: name
    lookups, connections, both requests and their bodies.
    """

    name: str
    api_url: str
    load_url: str
    secret: str = field(repr=False)
    algorithm: str
    ca_certificates: str | None = field(repr=False)
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll saw: of the node, and of its meetings, which are None unless getMeetings was answered well."""

    observation: Observation
    listing: Listing | None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of getMeetings; ``listing`` is None unless it was answered well."""

    reason: Reason
    message: str
    parsed: ParsedMeetings = field(default_factory=ParsedMeetings)
    listing: Listing | None = None


@dataclass(slots=True)
class _Exchange:
    """One request under way: what it is to, when its time is up, and how far it has come."""

    target: NodeTarget
    url: str
    deadline: float
    connected: bool = False
    answered: bool = False


def polls_at_once(max_in_flight: int) -> int:
    """Return how many polls make at most so many requests at the same time."""
    return max(1, max_in_flight // REQUESTS)


class NodeClient:
    """Polls nodes; an asynchronous context manager that keeps its connections from tick to tick.

    It follows no redirects, keeps no cookies and takes no proxy from the environment.

    Args:
        max_in_flight: Number of requests at the same time; a poll makes two at once, with 1 one after the other. A
            poll that has not finished after ``SLOT_SECONDS`` does not count any more, so nodes that hang do not keep
            others waiting.
        nameservers: Addresses (``IP`` or ``IP:port``) of name servers; None: those of the system.
        now: Returns the time that the nodes' clocks are compared with; its times are those of the listings.
    """

    def __init__(
        self,
        max_in_flight: int = 100,
        *,
        nameservers: Sequence[str] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._now = now
        self._slots = Slots(polls_at_once(max_in_flight), SLOT_SECONDS)
        self._one_by_one = max_in_flight == 1
        self._nameservers = nameservers

    async def __aenter__(self) -> Self:
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_end.append(_note_connection)
        tracing.on_connection_reuseconn.append(_note_connection)
        self._resolver = LookupResolver(self._nameservers)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, resolver=self._resolver, keepalive_timeout=IDLE_CONNECTION_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"b3lb/{__version__}", "Accept": "*/*", "Accept-Encoding": "gzip"},
            timeout=aiohttp.ClientTimeout(total=None),
            trace_configs=[tracing],
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._resolver.close()

    async def observe(self, target: NodeTarget, known: Mapping[str, bytes] | None = None) -> Poll:
        """Poll a node once and return what was seen; raises for nothing that a node does.

        The budget begins when the poll has its slot. A load request that fails or hangs costs nothing but the load's
        value: the result of getMeetings is returned when the budget ends.

        Args:
            target: The node.
            known: Internal ID → digest of the node's meetings whose details are not needed if they are as they were.

        Raises:
            ValueError: The target's checksum algorithm is unknown.
        """
        clock = asyncio.get_running_loop().time
        url = signed_url(target.api_url, "getMeetings", "", target.secret, target.algorithm)
        async with self._slots.hold():
            begun = clock()
            deadline = begun + target.timeout_seconds
            exchange = _Exchange(target, url, deadline)
            if self._one_by_one:
                answer, load = await self._meetings(exchange, known or {}), await self._load(target, deadline)
            else:
                async with asyncio.TaskGroup() as group:
                    loading = group.create_task(self._load(target, deadline))
                    answer = await self._meetings(exchange, known or {})
                load = loading.result()
            observation = Observation(
                reason=answer.reason,
                message=answer.message,
                meetings=answer.parsed.count,
                attendees=answer.parsed.attendees,
                load=load,
                seconds=clock() - begun,
            )
            return Poll(observation, answer.listing)

    async def _meetings(self, exchange: _Exchange, known: Mapping[str, bytes]) -> _Answer:
        """Return what getMeetings said, or why it said nothing."""
        read = functools.partial(_read_meetings, known=known, now=self._now)
        try:
            parsed, offset = await self._request(exchange, read)
        except AnswerError as failure:
            return _Answer(failure.reason, _without_secret(failure.message, exchange.target))
        return _Answer(Reason.RESPONDING, "", parsed, Listing(parsed.meetings, offset))

    async def _load(self, target: NodeTarget, deadline: float) -> LoadReport:
        """Return the load report, or why there is none."""
        try:
            return await self._request(_Exchange(target, target.load_url, deadline), _read_load)
        except AnswerError as failure:
            return LoadReport(None, LoadReason.UNREACHABLE, _without_secret(failure.message, target))

    async def _request(
        self, exchange: _Exchange, read: Callable[[aiohttp.ClientResponse], Awaitable[_Result]]
    ) -> _Result:
        """Send a GET and return what ``read`` makes of the answer.

        Raises:
            AnswerError: For whatever goes wrong.
        """
        try:
            return await self._send(exchange, read)
        except AnswerError:
            raise
        except Exception as error:  # noqa: BLE001 - one node's oddity must not cost the others their poll
            # The exception's text may quote the signed URL and is left out.
            frames = "".join(traceback.format_tb(error.__traceback__))
            _log.error("poll of node %s failed with %s:\n%s", exchange.target.name, type(error).__name__, frames)
            raise AnswerError(Reason.UNREACHABLE, f"the poll failed: {type(error).__name__}") from None

    async def _send(self, exchange: _Exchange, read: Callable[[aiohttp.ClientResponse], Awaitable[_Result]]) -> _Result:
        """As ``_request``, for everything that is known to go wrong."""
        url = _parse(exchange.url)
        host = url.raw_host or ""
        trust = _trust(exchange.target.ca_certificates) if url.scheme == "https" else True
        try:
            async with (
                asyncio.timeout_at(exchange.deadline),
                self._session.get(url, allow_redirects=False, ssl=trust, trace_request_ctx=exchange) as response,
            ):
                exchange.answered = True
                return await read(response)
        except TimeoutError:
            raise self._out_of_time(exchange, host) from None
        except (aiohttp.ClientError, OSError) as error:
            raise explain(error, host=host) from None

    def _out_of_time(self, exchange: _Exchange, host: str) -> AnswerError:
        seconds = f"{exchange.target.timeout_seconds:g} s"
        if exchange.answered:
            return AnswerError(Reason.TIMEOUT, f"the answer did not end within {seconds}")
        if exchange.connected:
            return AnswerError(Reason.TIMEOUT, f"no answer within {seconds}, connected")
        if self._resolver.is_pending(host):
            return AnswerError(Reason.DNS, f"name servers do not answer within {seconds}: {printable(host, 80)}")
        return AnswerError(Reason.TIMEOUT, f"no connection within {seconds}")


def _parse(url: str) -> URL:
    """Return the URL as it stands, without requoting, for it is signed.

    Raises:
        AnswerError: It is not an http or https URL.
    """
    try:
        parsed = URL(url, encoded=True)
        if parsed.scheme in {"http", "https"} and parsed.raw_host:
            return parsed
    except ValueError:
        pass
    raise AnswerError(Reason.UNREACHABLE, NOT_A_URL)


async def _note_connection(_session: aiohttp.ClientSession, context: SimpleNamespace, _event: object) -> None:
    context.trace_request_ctx.connected = True


@functools.lru_cache(maxsize=64)
def _context(ca_certificates: str) -> ssl.SSLContext:
    """Return the context that trusts only these authorities; shared, for each holds megabytes."""
    return ssl.create_default_context(cadata=ca_certificates)


def _trust(ca_certificates: str | None) -> ssl.SSLContext | bool:
    """Return whom to trust, in aiohttp's words.

    Raises:
        AnswerError: The certificates are not a PEM bundle.
    """
    if ca_certificates is None:
        return True
    try:
        if ca_certificates.strip():
            return _context(ca_certificates)
    except (ssl.SSLError, ValueError, TypeError):
        pass
    raise AnswerError(Reason.TLS, "the cluster's CA certificates are not a bundle of PEM certificates") from None


async def _read_meetings(
    response: aiohttp.ClientResponse, *, known: Mapping[str, bytes], now: Callable[[], datetime]
) -> tuple[ParsedMeetings, timedelta]:
    """Return the answer's meetings, and how far the node's clock is ahead."""
    offset = clock_offset(response.headers.get("Date", ""), now())
    if response.status != HTTPStatus.OK:
        location = response.headers.get("Location", "")
        raise AnswerError(Reason.HTTP_STATUS, status_text(response.status, location))
    if (response.content_length or 0) > BODY_BYTES:
        raise _too_large()
    parser = MeetingsParser(known)
    received = 0
    async for piece in response.content.iter_any():
        received += len(piece)
        if received > BODY_BYTES:
            raise _too_large()
        for start in range(0, len(piece), TURN_BYTES):
            if received > TURN_BYTES:
                await asyncio.sleep(0)
            parser.feed(piece[start : start + TURN_BYTES])
    return parser.close(), offset


async def _read_load(response: aiohttp.ClientResponse) -> LoadReport:
    body = b""
    if response.status == HTTPStatus.OK:
        async for piece in response.content.iter_any():
            body += piece[: LOAD_BODY_BYTES + 1]
            if len(body) > LOAD_BODY_BYTES:
                break
    return read_load(response.status, body)


def _too_large() -> AnswerError:
    return AnswerError(Reason.TOO_LARGE, f"the answer is larger than {BODY_BYTES // 2**20} MiB")


def _without_secret(message: str, target: NodeTarget) -> str:
    """Return the message without the node's secret, should the node repeat it."""
    return message.replace(target.secret, "[redacted]") if target.secret else message
