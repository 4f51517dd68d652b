"""What people write on the command line, checked: each function returns the value or says what may stand there."""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

T = TypeVar("T")

LONGEST_WAIT_SECONDS = 86_400.0
LONGEST_LIFETIME_DAYS = 366
LONGEST_RECORD_ID = 256

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_DURATION = re.compile(r"(?:([0-9]{1,2})h)?(?:([0-9]{1,4})m)?(?:([0-9]{1,6}(?:\.[0-9]{1,3})?)s?)?")


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a function that reads an argument by ``parse``, whose ValueError is told to the person word by word."""

    def read(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return read


def namespace_name(text: str) -> str:
    """Return ``text`` if a namespace can have it for a name.

    Raises:
        ValueError: It cannot.
    """
    if not _NAMESPACE.fullmatch(text):
        raise ValueError("a namespace's name has at most 63 lower-case letters, digits and '-'")
    return text


def object_name(text: str) -> str:
    """Return ``text`` if a custom resource can have it for a name.

    Raises:
        ValueError: It cannot.
    """
    if not _OBJECT.fullmatch(text):
        raise ValueError("an object's name has at most 253 lower-case letters, digits, '-' and '.'")
    return text


def tenant_name(text: str) -> str:
    """Return the name of the tenant whose slug or name ``text`` is.

    Raises:
        ValueError: No tenant can have it.
    """
    return object_name(text.lower())


def name_of_recording(text: str) -> str:
    """Return ``text`` if it can be a record ID, BBB's internal meeting ID.

    Raises:
        ValueError: It cannot.
    """
    if not text or len(text) > LONGEST_RECORD_ID or not text.isprintable() or " " in text:
        raise ValueError(f"a record ID has at most {LONGEST_RECORD_ID} characters, and no blank")
    return text


def number(least: int, greatest: int) -> Callable[[str], int]:
    """Return a function that reads a whole number within bounds."""

    def parse(text: str) -> int:
        # Zeros in front do not make a number greater, and Python reads no number of thousands of digits.
        digits = text.lstrip("0") or "0"
        if not text.isascii() or not text.isdecimal() or not least <= int(digits[:9]) <= greatest:
            raise ValueError(f"{text!r} is not a number from {least} to {greatest}")
        return int(digits)

    return parse


def duration(text: str) -> float:
    """Return the seconds of a duration: ``90``, ``90s``, ``5m``, ``1h30m``, at most a day.

    Raises:
        ValueError: It is none.
    """
    found = _DURATION.fullmatch(text) if text else None
    if found is not None:
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        total = hours * 3600 + minutes * 60 + seconds
        if total <= LONGEST_WAIT_SECONDS:
            return total
    raise ValueError(f"{text!r} is not a duration up to 24h: write seconds or e.g. 90s, 5m, 1h30m")


def lifetime(text: str) -> float:
    """Return the seconds of a `duration`, or of days: ``7d``, at most 366.

    Raises:
        ValueError: It is none.
    """
    if text.endswith("d"):
        return number(1, LONGEST_LIFETIME_DAYS)(text[:-1]) * 86_400.0
    return duration(text)


def run_id(text: str) -> UUID:
    """Return the ID of a run.

    Raises:
        ValueError: It is none.
    """
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"{text!r} is not the ID of a run; b3lb runs lists them") from None


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: It is none.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    raise ValueError('write a JSON object, e.g. {"name": "value"}')


def server_url(text: str) -> str:
    """Return the address of an operator's end point, without a slash at its end.

    Raises:
        ValueError: It is no HTTP URL, or holds more than scheme, host, port and path.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    else:
        usable = usable and "@" not in parts.netloc and not parts.query and not parts.fragment
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("write the operator's address as http://HOST:PORT, such as http://localhost:8080")
    return text.rstrip("/")
