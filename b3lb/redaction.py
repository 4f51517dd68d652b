"""Removes secrets from texts that people may read: log lines, error messages, tracebacks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"
LONGEST_TEXT = 32_768
DEEPEST = 6

_URL_PASSWORD = re.compile(r"(://[^\s:/@?#]{0,256}:)(?!\d{1,5}(?:[/?#,\s]|$))[^\s'\"]{1,512}@")
_ASSIGNMENT = re.compile(
    r"""(password|passwd|secret|token|checksum|authorization)(\s?=\s?|%3d)(?!\[redacted\])('[^']*'|"[^"]*"|[^\s&;,'"<>)\]}]+)""",
    re.IGNORECASE,
)
_QUOTED_KEY = re.compile(
    r"""((?:password|secret|token|checksum|authorization)\\?["']\s{0,4}:\s{0,4}b?)(\\?["'])[^"'\\]*\2""", re.IGNORECASE
)
_HEADER = re.compile(r"(authorization:\s{0,4})(?:[a-z]+\s{1,4})?[^\s,'\"]+", re.IGNORECASE)
_BEARER = re.compile(r"(bearer\s{1,4})[a-z0-9._~+/-]{6,}=*", re.IGNORECASE)
_SECRET_KEY = re.compile(r"(?:^|[_\-.])(?:secret|password|passwd|token|authorization|checksum)$", re.IGNORECASE)
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def redact(text: str) -> str:
    """Return ``text`` without passwords in URLs, checksums, bearer tokens and assignments to secret names.

    Rather too much is removed than too little. Texts beyond 32 KiB are cut, so the effort is bounded.
    """
    text = shortened(text, LONGEST_TEXT)
    text = _URL_PASSWORD.sub(rf"\1{REDACTED}@", text)
    text = _ASSIGNMENT.sub(rf"\1\2{REDACTED}", text)
    text = _QUOTED_KEY.sub(rf"\1\2{REDACTED}\2", text)
    text = _HEADER.sub(rf"\1{REDACTED}", text)
    return _BEARER.sub(rf"\1{REDACTED}", text)


def shortened(text: str, characters: int) -> str:
    """Return ``text`` cut in its middle to at most ``characters``, for the ends of a traceback tell the most.

    The second part begins with a line: what is cut off must not be the name that shows that a secret follows.
    """
    if len(text) <= characters:
        return text
    half = (characters - 3) // 2
    _, _, tail = text[-half:].partition("\n")
    return f"{text[:half]}\n…\n{tail}"


def redact_value(key: str, value: Any, depth: int = 0) -> Any:
    """Return ``value`` of ``key`` without secrets, down to a bounded depth.

    Texts, bytes and containers under a key that ends in secret, password, token, authorization or checksum are removed
    whole; numbers and truth values are not, for they count or say whether something is there.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_KEY.search(_CAMEL_CASE.sub("_", key)):
        return REDACTED
    match value:
        case str():
            result: Any = redact(value)
        case Mapping() if depth < DEEPEST:
            result = {str(name): redact_value(str(name), item, depth + 1) for name, item in value.items()}
        case list() | tuple() | set() | frozenset() if depth < DEEPEST:
            result = [redact_value("", item, depth + 1) for item in value]
        case _:
            result = redact(repr(value))
    return result
