"""Hosts and URLs of a node: what the user may write, and the one form in which they are kept and compared."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, urlsplit, urlunsplit

URL_LENGTH = 2048
HOST_LENGTH = 253
"""Longest DNS name in characters (RFC 1035, 2.3.4)."""

_LABEL = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_NUMBER = "([0-9]+|0[xX][0-9A-Fa-f]*)"
_PORT_AND_PATH = "(:[0-9]*)?(/|$)"
_NAME = f"{_LABEL}([.]{_LABEL})*"
HOST_PATTERN = f"^{_NAME}$"
NUMBER_PATTERN = f"(^|[.]){_NUMBER}$"
"""A host whose last label is a number is an IPv4 address or nothing
(https://url.spec.whatwg.org/#ends-in-a-number-checker)."""

# The same within a URL: CEL cannot estimate what it costs to match url(self).getHostname(), and then refuses the rule.
URL_HOST_PATTERN = f"^[A-Za-z]+://{_NAME}{_PORT_AND_PATH}"
URL_NUMBER_PATTERN = f"^[A-Za-z]+://([^/:]*[.])?{_NUMBER}{_PORT_AND_PATH}"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
URL_IPV4_PATTERN = f"^[A-Za-z]+://({_OCTET}[.]){{3}}{_OCTET}{_PORT_AND_PATH}"
URL_IPV6_PATTERN = rf"^[A-Za-z]+://\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]{_PORT_AND_PATH}"

PORT_MAXIMUM = 65535
PORT_DIGITS = 5

_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORM = "write an absolute URL that begins with http:// or https://"
_UNWANTED = re.compile(r"[?#@\x00-\x20\x7f]")


def normalise_url(url: str) -> str:
    """Return ``url`` with scheme and host in lower case, without default port and trailing slash (RFC 3986, 6.2).

    Raises:
        ValueError: Not an absolute http or https URL, one with credentials, query or fragment, or one whose host or
            port cannot exist.
    """
    parts = _split(url)
    return urlunsplit((parts.scheme, _authority(parts), parts.path.rstrip("/"), "", ""))


def origin(url: str) -> str:
    """Return scheme, host and port of ``url``.

    Raises:
        ValueError: As with ``normalise_url``.
    """
    parts = _split(url)
    return urlunsplit((parts.scheme, _authority(parts), "", "", ""))


def is_host(host: str) -> bool:
    """Whether ``host`` is a DNS name or an IPv4 address."""
    if len(host) > HOST_LENGTH or re.fullmatch(HOST_PATTERN, host) is None:
        return False
    return re.search(NUMBER_PATTERN, host) is None or _is_address(host, IPv4Address)


def _is_address(host: str, kind: type[IPv4Address | IPv6Address]) -> bool:
    try:
        kind(host)
    except ValueError:
        return False
    return True


def _split(url: str) -> SplitResult:
    if _UNWANTED.search(url):
        # urlsplit leaves some of them out without a word.
        raise ValueError("write the URL without credentials, query, fragment, blanks and control characters")
    try:
        parts = urlsplit(url)
    except ValueError:
        # Its words are about brackets and normal forms of Unicode, not about what to write.
        raise ValueError(_FORM) from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(_FORM)
    if not (_is_ipv6(parts.hostname) if "[" in parts.netloc else is_host(parts.hostname)):
        raise ValueError(
            "write a DNS name, an IPv4 address or an IPv6 address in brackets as the host of the URL; of an "
            "IPv4-mapped IPv6 address, ::ffff:…, the IPv4 address itself"
        )
    if _port(parts) == 0:
        raise ValueError(f"write a port from 1 to {PORT_MAXIMUM}, or none")
    return parts


def _is_ipv6(host: str) -> bool:
    """Whether ``host`` is an IPv6 address that the API server takes: without a zone, and not an IPv4-mapped one."""
    return "%" not in host and _is_address(host, IPv6Address) and IPv6Address(host).ipv4_mapped is None


def _port(parts: SplitResult) -> int | None:
    """Return the port, None where there is none, and 0 for one that cannot exist."""
    try:
        return parts.port
    except ValueError:
        return 0


def _authority(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = _port(parts)
    return host if port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{host}:{port}"
