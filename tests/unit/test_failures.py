"""Exceptions of a request as a reason and a message, where a real server cannot be made to cause them."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import cast

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from b3lb.bbb.failures import explain
from b3lb.health import Reason

KEY = ConnectionKey(
    host="bbb1.example.org", port=443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
)


def connector_error(error: OSError) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(KEY, error)


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (
            OSError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 443)"),
            Reason.REFUSED,
            "connection refused by 10.0.0.1:443",
        ),
        (
            OSError(
                "Multiple exceptions: [Errno 101] Connect call failed ('fd00::1', 443, 0, 0), "
                "[Errno 111] Connect call failed ('10.0.0.1', 443)"
            ),
            Reason.REFUSED,
            "connection refused by [fd00::1]:443, 10.0.0.1:443",
        ),
        (
            OSError(errno.EHOSTUNREACH, "Connect call failed ('10.0.0.1', 443)"),
            Reason.UNREACHABLE,
            "no route to host: 10.0.0.1:443",
        ),
        (
            OSError(errno.ENETUNREACH, "Network is unreachable"),
            Reason.UNREACHABLE,
            "network is unreachable: bbb1.example.org:443",
        ),
        (
            OSError(errno.ETIMEDOUT, "Connect call failed ('10.0.0.1', 443)"),
            Reason.TIMEOUT,
            "connection timed out: 10.0.0.1:443",
        ),
        (
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            Reason.DISCONNECTED,
            "connection reset by peer: bbb1.example.org:443",
        ),
        (
            ConnectionResetError(),
            Reason.DISCONNECTED,
            "connection closed while connecting to bbb1.example.org:443",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            Reason.UNREACHABLE,
            "too many open files: bbb1.example.org:443",
        ),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            Reason.UNREACHABLE,
            "not a valid address: bbb1.example.org:443",
        ),
    ],
)
def test_failures_to_connect_name_cause_and_address(error: OSError, reason: Reason, message: str) -> None:
    failure = explain(connector_error(error), host="bbb1.example.org")
    assert (failure.reason, failure.message) == (reason, message)


def test_a_failure_of_dns_without_a_code_is_one_of_dns() -> None:
    failure = explain(aiohttp.ClientConnectorDNSError(KEY, OSError(None, "DNS lookup failed")), host="bbb1.example.org")
    assert (failure.reason, failure.message) == (Reason.DNS, "DNS lookup failed: bbb1.example.org")


def test_a_failure_of_tls_after_the_handshake_is_one_of_tls() -> None:
    error = aiohttp.ClientOSError(1, "ssl")
    error.__cause__ = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
    failure = explain(error, host="bbb1.example.org")
    assert failure.reason is Reason.TLS
    assert "certificate required" in failure.message


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientOSError(errno.ECONNRESET, "Connection reset by peer"),
        aiohttp.ServerDisconnectedError(),
        BrokenPipeError(),
        aiohttp.ClientConnectionResetError("Cannot write to closing transport"),
    ],
)
def test_a_connection_that_ends_early_is_a_disconnection(error: Exception) -> None:
    assert explain(error, host="h").reason is Reason.DISCONNECTED


def test_an_exception_of_a_kind_not_known_is_named_without_its_text() -> None:
    failure = explain(aiohttp.ClientError("https://bbb1.example.org/api/getMeetings?checksum=0123"), host="h")
    assert (failure.reason, failure.message) == (Reason.UNREACHABLE, "the request failed: ClientError")


def test_control_characters_in_what_the_node_sent_are_removed() -> None:
    error = aiohttp.ClientResponseError(
        cast("aiohttp.RequestInfo", None), (), status=400, message="Bad\x1b[31m status\u202e line:\n  b'x'"
    )
    assert explain(error, host="h").message == "not a valid HTTP answer: bad [31m status line"
