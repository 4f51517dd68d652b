"""Sends callbacks: one form each, within bounded time, to nobody on this machine.

The address is a client's: whoever may create meetings chooses it. So nothing of the answer but its status is looked at,
no redirect is followed, and addresses that lead to this pod or to its host's metadata service are not called.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from b3lb import __version__
from b3lb.bbb.failures import NOT_A_URL, explain
from b3lb.bbb.resolver import LookupResolver
from b3lb.callbacks.outbox import Attempt, CallbackReason, judged
from b3lb.health import Reason

SECONDS = 10.0
"""Of one delivery: name lookup, connection, request and the head of the answer."""

LONGEST_URL = 2048
_LONGEST_NUMBER = 6
_FORBIDDEN = "loopback, link-local and multicast addresses are not called"


@dataclass(frozen=True, slots=True)
class Message:
    """A form to be sent; it holds a signature, so it stays out of logs."""

    url: str
    form: Mapping[str, str] = field(repr=False)


def is_allowed(address: str) -> bool:
    """Whether a callback may go to an IP address: neither this machine's own, nor link-local, nor multicast.

    Private addresses are allowed: front ends often stand in the same network.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    found = mapped or found
    return not (found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified)


def check_url(url: str) -> URL | None:
    """Return the URL of a callback, None if it is none: http or https, with a host, of at most 2048 characters."""
    if len(url) > LONGEST_URL:
        return None
    try:
        # The client's spelling is kept.
        parsed = URL(url, encoded=True)
    except ValueError:
        return None
    return parsed if parsed.scheme in {"http", "https"} and parsed.host else None


class CallbackClient:
    """Sends callbacks; an asynchronous context manager.

    Args:
        seconds: Longest time of a delivery.
        allow_local: Whether loopback addresses may be called: for trying it on one machine.
    """

    def __init__(self, *, seconds: float = SECONDS, allow_local: bool = False) -> None:
        self._seconds = seconds
        self._allow_local = allow_local

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Receivers are many and callbacks few: connections are not kept.
            connector=aiohttp.TCPConnector(
                limit=0, resolver=LookupResolver(), force_close=True, socket_factory=self._socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"b3lb/{__version__}", "Accept": "*/*"},
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, message: Message) -> Attempt:
        """Send a callback once and return how that went; whatever the receiver does, nothing is raised."""
        url = check_url(message.url)
        if url is None:
            return Attempt(None, CallbackReason.INVALID_URL, NOT_A_URL)
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._session.post(url, data=dict(message.form), allow_redirects=False) as response,
            ):
                return judged(response.status, retry_after=_seconds(response.headers.get("Retry-After")))
        except TimeoutError:
            return Attempt(None, Reason.TIMEOUT, f"no answer within {self._seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno == errno.EACCES:
                return Attempt(None, CallbackReason.FORBIDDEN_ADDRESS, _FORBIDDEN)
            answer = explain(error, host=str(url.host))
            return Attempt(None, answer.reason, answer.message)

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Return a socket for an address that was looked up or given, just before it is called."""
        family, kind, protocol, _, (host, *_rest) = address
        if not self._allow_local and not is_allowed(host):
            raise PermissionError(errno.EACCES, _FORBIDDEN)
        return socket.socket(family=family, type=kind, proto=protocol)


def _seconds(header: str | None) -> float | None:
    """Return the seconds of ``Retry-After``; a date is not looked at."""
    text = (header or "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER else None
