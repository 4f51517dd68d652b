"""Text that came from outside, made fit for a condition's message or a log line."""

from __future__ import annotations

import re
import unicodedata
from http import HTTPStatus

from b3lb.redaction import redact

MESSAGE_CHARACTERS = 200

_ORIGIN = re.compile(r"https?://[^/?#@\s\\]+", re.IGNORECASE)


def printable(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """Return one line of at most ``limit`` characters without control characters, checksums and passwords.

    Characters of the Unicode categories C* (controls, bidirectional overrides, surrogates, unassigned) become spaces,
    runs of white space one space.
    """
    head = text[: limit * 8]
    visible = "".join(" " if unicodedata.category(character).startswith("C") else character for character in head)
    line = redact(" ".join(visible.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def status_text(status: int, location: str = "") -> str:
    """Return an HTTP status for people; a redirect says that it is not followed and to which server it points.

    Args:
        status: The HTTP status.
        location: The header ``Location``; only its scheme and host are shown, for the rest may hold a checksum.
    """
    try:
        text = f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        text = f"HTTP {status}"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        origin = _ORIGIN.match(location)
        text += f"{' to ' + printable(origin[0], 80) if origin else ''}, redirects are not followed"
    return text
