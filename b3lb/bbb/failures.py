"""Why a request to a node failed, for conditions and people: exceptions of aiohttp as a reason and a short message."""

from __future__ import annotations

import errno
import os
import re
import ssl

import aiodns
import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from b3lb.bbb.errors import AnswerError
from b3lb.bbb.text import printable
from b3lb.health import Reason

NOT_A_URL = "not a valid http or https URL"

# Codes of c-ares (ares.h), for names that people know from resolv.conf and dig.
_DNS = {
    aiodns.error.ARES_ENOTFOUND: "name not found",
    aiodns.error.ARES_ENODATA: "name has no address",
    aiodns.error.ARES_ESERVFAIL: "name server failed (SERVFAIL)",
    aiodns.error.ARES_EREFUSED: "name server refused the query",
    aiodns.error.ARES_ETIMEOUT: "name servers do not answer",
    aiodns.error.ARES_ECONNREFUSED: "name servers cannot be reached",
    aiodns.error.ARES_EBADNAME: "not a valid name",
}
# What X509_verify_cert says (openssl-verification-options(1)) where its own words need help.
_CERTIFICATE = {
    19: "certificate chain ends in an untrusted self-signed certificate",
    20: "certificate of an unknown authority",
    62: "hostname mismatch: certificate is not valid for {host}",
    64: "hostname mismatch: certificate is not valid for {host}",
}
_OS = {
    errno.ETIMEDOUT: Reason.TIMEOUT,
    errno.ECONNRESET: Reason.DISCONNECTED,
    errno.ECONNABORTED: Reason.DISCONNECTED,
    errno.EPIPE: Reason.DISCONNECTED,
}
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_ADDRESS = re.compile(r"\('([0-9a-fA-F.:%]+)', (\d+)")


def explain(error: Exception, *, host: str) -> AnswerError:
    """Return the failure that an exception of a request stands for.

    Args:
        error: What aiohttp raised.
        host: Name of the node's server, for the message.
    """
    tls_error = next((item for item in (error.__cause__, error) if isinstance(item, ssl.SSLError)), None)
    if tls_error is not None:
        return _tls(tls_error, host)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _dns(error, host) if isinstance(error, aiohttp.ClientConnectorDNSError) else _connect(error)
    if isinstance(error, aiohttp.ClientPayloadError):
        return _body(error)
    if isinstance(error, aiohttp.ClientResponseError):
        return _protocol(error)
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return AnswerError(Reason.DISCONNECTED, "connection closed before an answer")
    invalid = isinstance(error, aiohttp.InvalidURL)
    return AnswerError(Reason.UNREACHABLE, NOT_A_URL if invalid else f"the request failed: {type(error).__name__}")


def _dns(error: aiohttp.ClientConnectorDNSError, host: str) -> AnswerError:
    cause = error.os_error.__cause__
    code = cause.args[0] if isinstance(cause, aiodns.error.DNSError) and cause.args else None
    text = _DNS.get(code) or printable(str(error.os_error.strerror or "name lookup failed"), 80)
    return AnswerError(Reason.DNS, f"{text}: {printable(host, 80)}")


def _tls(error: ssl.SSLError, host: str) -> AnswerError:
    # Attributes that only OpenSSL sets, not whoever else raises the class.
    if isinstance(error, ssl.SSLCertVerificationError):
        words = getattr(error, "verify_message", "") or "certificate is not valid"
        text = _CERTIFICATE.get(getattr(error, "verify_code", 0), words).replace("{host}", host)
        return AnswerError(Reason.TLS, printable(text))
    reason = getattr(error, "reason", None) or error.strerror or "unknown error"
    if reason == "WRONG_VERSION_NUMBER":
        return AnswerError(Reason.TLS, "the port does not speak TLS")
    return AnswerError(Reason.TLS, f"TLS failed: {printable(reason.replace('_', ' ').lower(), 80)}")


def _connect(error: aiohttp.ClientConnectorError) -> AnswerError:
    cause = error.os_error
    # Several addresses that failed differently come as one error without a number; a refusal says most.
    codes = [cause.errno] if cause.errno is not None else [int(code) for code in _ERRNO.findall(str(cause))]
    addresses = _ADDRESS.findall(str(cause))
    where = ", ".join(_join(host, port) for host, port in addresses[:3]) or _join(error.host, error.port)
    if errno.ECONNREFUSED in codes:
        return AnswerError(Reason.REFUSED, f"connection refused by {where}")
    if not codes:
        return AnswerError(Reason.DISCONNECTED, f"connection closed while connecting to {where}")
    reason = _OS.get(codes[0], Reason.UNREACHABLE)
    text = os.strerror(codes[0]).lower() if codes[0] > 0 else "not a valid address"  # below 0: of getaddrinfo
    return AnswerError(reason, f"{text}: {where}")


def _join(host: str, port: object) -> str:
    return printable(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", 80)


def _body(error: aiohttp.ClientPayloadError) -> AnswerError:
    if isinstance(error.__cause__, ContentEncodingError):
        return AnswerError(Reason.INVALID_XML, "the compressed answer cannot be decoded")
    return AnswerError(Reason.DISCONNECTED, "connection closed before the end of the answer")


def _protocol(error: aiohttp.ClientResponseError) -> AnswerError:
    # Further lines quote what the node sent.
    text = error.message.split("\n", 1)[0].rstrip(": ").lower()
    if text.startswith(("got more than", "too many headers")):
        return AnswerError(Reason.TOO_LARGE, "the HTTP headers are too large")
    if "content-encoding" in text:
        return AnswerError(Reason.INVALID_XML, "the compressed answer cannot be decoded")
    return AnswerError(Reason.HTTP_STATUS, f"not a valid HTTP answer: {printable(text, 80)}")
