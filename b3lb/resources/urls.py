"""URLs of a node: what the user may write, and the one form in which they are kept and compared."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit, urlunsplit

URL_LENGTH = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}


def normalise_url(url: str) -> str:
    """Return ``url`` with scheme and host in lower case, without default port and trailing slash (RFC 3986, 6.2).

    Raises:
        ValueError: Not an absolute http or https URL, or one with credentials, query or fragment.
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


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("write an absolute URL that begins with http:// or https://")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("write the URL without credentials, query and fragment")
    return parts


def _authority(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{host}:{parts.port}"
